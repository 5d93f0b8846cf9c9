// What a budget can buy: what planning/options.py computes.

// A budget that buys nothing of use; its message is for the reader.
class NothingAffordable extends Error {}

function makeOption(fields) {
  return {
    n_labels: 0, n_unlabeled: 0, label_usd: 0, finetune_usd: 0, distill_usd: 0, teacher: "", student: "",
    accelerator: "", n_llm_labels: 0, llm: "", llm_usd: 0, serving_usd: 0, ...fields,
  };
}

function totalUsd(option) {
  return option.label_usd + option.finetune_usd + option.distill_usd + option.llm_usd + option.serving_usd;
}

function kindOf(option) {
  return [option.strategy, option.teacher, option.student, option.llm].join("\n");
}

function optionsOf(wish, prices) {
  const serving = wish.students.map(student => servingUsd(wish, prices, student, "student"));
  const sizes = serving.map(usd => sizesOf(wish, prices, usd));
  if (sizes.every(each => each.length === 0)) throw nothingAffordable(wish, prices, Math.min(...serving));
  const found = [];
  wish.students.forEach((student, i) => {
    for (const n of sizes[i]) found.push(annotated(n, wish, prices, student, serving[i]));
  });
  for (const llm of prices.llms) {
    wish.students.forEach((student, i) => found.push(...askedOf(llm, wish, prices, student, serving[i])));
  }
  for (const teacher of wish.teachers) {
    wish.students.forEach((student, i) => {
      for (const n of sizes[i]) {
        const option = distilled(n, wish, prices, teacher, student, serving[i]);
        if (option) found.push(option);
      }
    });
    if (servedOf(wish)) found.push(...taught(wish, prices, teacher));
  }
  return found;
}

// Whole numbers, evenly spaced on the log scale, rising, each once.
function spaced(least, most, count) {
  const ratio = Math.log(most / least);
  const found = [];
  for (let i = 0; i < count; i++) {
    const n = Math.floor(least * Math.exp(ratio * i / (count - 1)) + 0.5);
    if (n !== found[found.length - 1]) found.push(n);
  }
  return found;
}

function sizesOf(wish, prices, usd) {
  let most = wish.at_hand + Math.floor((wish.budget_usd - usd) / prices.label_usd + 1e-9);
  if (wish.max_labels !== null) most = Math.min(most, wish.max_labels);
  const least = Math.max(wish.at_hand, settings.least_labels);
  return most >= least ? spaced(least, most, settings.sizes) : [];
}

function newLabelsUsd(nLabels, wish, prices) {
  return (nLabels - wish.at_hand) * prices.label_usd;
}

function annotated(nLabels, wish, prices, student, usd) {
  const label_usd = newLabelsUsd(nLabels, wish, prices);
  return makeOption({strategy: "annotate", n_labels: nLabels, label_usd, student, serving_usd: usd});
}

function askedOf(llm, wish, prices, student, usd) {
  const bought = sizesOf(wish, prices, usd).filter((_, i) => i % settings.llm_every === 0);
  const found = [];
  for (const nLabels of [...new Set([wish.at_hand, ...bought])].sort((one, other) => one - other)) {
    const human = annotated(nLabels, wish, prices, student, usd);
    const leftUsd = wish.budget_usd - totalUsd(human);
    const price = llmUsd(prices, llm);
    const most = leftUsd > 0 ? Math.min(Math.floor(leftUsd / price + 1e-9), wish.max_unlabeled) : 0;
    if (most < settings.least_pool) continue;
    for (const count of spaced(settings.least_pool, most, settings.llm_sizes)) {
      found.push({...human, n_llm_labels: count, llm: llm.name, llm_usd: count * price});
    }
  }
  return found;
}

// Of several accelerators the one that leaves most unlabeled examples.
function distilled(nLabels, wish, prices, teacher, student, usd) {
  const label_usd = newLabelsUsd(nLabels, wish, prices);
  let best = null;
  for (const place of placesOf(prices)) {
    const finetune_usd = finetuneUsd(prices, nLabels, teacher, place);
    const rateUsd = distillUsdPer1k(prices, nLabels, teacher, student, place);
    const leftUsd = wish.budget_usd - usd - label_usd - finetune_usd;
    const affordable = leftUsd > 0 ? Math.floor(leftUsd / rateUsd * 1000 + 1e-9) : 0;
    const pool = Math.min(affordable, wish.max_unlabeled);
    const option = makeOption({
      strategy: "distill", n_labels: nLabels, n_unlabeled: pool, label_usd, finetune_usd,
      distill_usd: pool / 1000 * rateUsd, teacher, student, accelerator: place ? place.name : "", serving_usd: usd,
    });
    const isBetter = best === null || pool > best.n_unlabeled ||
      (pool === best.n_unlabeled && totalUsd(option) < totalUsd(best));
    if (pool >= settings.least_pool && isBetter) best = option;
  }
  return best;
}

function cheapestFinetuneUsd(nLabels, prices, teacher) {
  return Math.min(...placesOf(prices).map(place => finetuneUsd(prices, nLabels, teacher, place)));
}

function taught(wish, prices, teacher) {
  const usd = servingUsd(wish, prices, teacher, "teacher");
  return sizesOf(wish, prices, usd).map(nLabels => makeOption({
    strategy: "teacher", n_labels: nLabels, label_usd: newLabelsUsd(nLabels, wish, prices),
    finetune_usd: cheapestFinetuneUsd(nLabels, prices, teacher), teacher, serving_usd: usd,
  })).filter(option => totalUsd(option) <= wish.budget_usd + 1e-9);
}

function nothingAffordable(wish, prices, usd) {
  const least = Math.max(wish.at_hand, settings.least_labels);
  const neededUsd = (least - wish.at_hand) * prices.label_usd + usd;
  const served = usd ? `, and ${dollars(usd)} of serving ${whole(servedOf(wish))} predictions` : "";
  return new NothingAffordable(
    `${dollars(wish.budget_usd)} is below the cheapest option, ${least} labels at $${general(prices.label_usd, 6)} ` +
    `each${served} (${dollars(neededUsd)}).`
  );
}

// Why the budget cannot buy some of what was asked about, one sentence each.
function whyNot(wish, prices, options) {
  const said = [];
  for (const student of wish.students) {
    const usd = servingUsd(wish, prices, student, "student");
    if (!sizesOf(wish, prices, usd).length) {
      said.push(`${student || "The student"}: serving it takes ${dollars(usd)} of ${dollars(wish.budget_usd)}.`);
    }
  }
  for (const teacher of wish.teachers) {
    const has = strategy => options.some(option => option.strategy === strategy && option.teacher === teacher);
    if (!has("distill")) said.push(noDistilling(wish, prices, teacher));
    if (servedOf(wish) && !has("teacher")) {
      said.push(
        `Serving ${teacher || "the teacher"} itself: ${whole(servedOf(wish))} predictions cost ` +
        `${dollars(servingUsd(wish, prices, teacher, "teacher"))} of ${dollars(wish.budget_usd)}, which leaves too ` +
        "little to train it."
      );
    }
  }
  return said;
}

function noDistilling(wish, prices, teacher) {
  const least = Math.max(wish.at_hand, settings.least_labels);
  const teacherUsd = cheapestFinetuneUsd(least, prices, teacher);
  const leastUsd = (least - wish.at_hand) * prices.label_usd + teacherUsd;
  return (
    `Distilling${teacher ? ` ${teacher}` : ""}: fine-tuning the teacher on ${whole(least)} labels costs ` +
    `${dollars(teacherUsd)}; with the labels ${dollars(leastUsd)}, which leaves of ${dollars(wish.budget_usd)} too ` +
    `little for ${settings.least_pool} unlabeled examples.`
  );
}
