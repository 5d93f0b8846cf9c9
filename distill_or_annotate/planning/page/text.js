// Numbers and sentences: what planning/text.py and Option.name say.

// Fixed decimals as Python rounds: an exact half goes to the even digit.
function fixed(value, digits) {
  const text = value.toFixed(digits);
  const scaled = Math.abs(value) * 10 ** digits;
  const isTie = scaled < 2 ** 50 && Number.isInteger(Math.abs(value) * 2 ** (digits + 1)) && scaled % 1 === 0.5;
  if (!isTie) return text;
  const even = 2 * Math.round(scaled / 2);
  return (Math.sign(value) * even / 10 ** digits).toFixed(digits);
}

function grouped(text) {
  const [whole, ...rest] = text.split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".");
}

function whole(value) {
  return grouped(fixed(value, 0));
}

function dollars(usd) {
  return `$${grouped(fixed(usd, 2))}`;
}

function score(points) {
  return fixed(points, 1);
}

// So many significant digits, an exponent where Python writes one, an exact half to the even digit.
function general(value, digits) {
  const [first, tail, power] = value.toExponential(60).split(/[.e]/);
  const kept = `${first}${tail.slice(0, digits - 1)}`;
  const isTie = /^50*$/.test(tail.slice(digits - 1));
  const near = isTie && Number(kept[digits - 1]) % 2 === 0 ? Number(`${kept[0]}.${kept.slice(1)}e${power}`) : value;
  const [mantissa, exponent] = near.toExponential(digits - 1).split("e").map(Number);
  if (exponent < -4 || exponent >= digits) {
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  return String(Number(near.toPrecision(digits)));
}

function nameOf(option) {
  let labels = `${whole(option.n_labels)} labels`;
  if (option.strategy === "teacher") return `${labels}, ${option.teacher || "the teacher"} itself serving`;
  if (option.n_unlabeled) {
    const pair = option.teacher || option.student
      ? ` from ${option.teacher || "the teacher"} into ${option.student}` : "";
    const there = option.accelerator ? ` on ${option.accelerator}` : "";
    return `${labels}, ${whole(option.n_unlabeled)} distilled${pair}${there}`;
  }
  if (option.llm) {
    labels = option.n_labels ? `${labels} and ${whole(option.n_llm_labels)}` : `${whole(option.n_llm_labels)} labels`;
    labels += ` of ${option.llm}`;
  }
  return `${labels} alone${option.student ? ` for ${option.student}` : ""}`;
}

function kindText(option) {
  if (option.strategy === "teacher") return `serving ${option.teacher || "the teacher"} itself`;
  if (option.strategy === "distill") {
    return option.teacher || option.student ? `distilling ${option.teacher || "the teacher"} into ${option.student}`
      : "distilling";
  }
  const labels = option.llm ? `labels of ${option.llm}` : "labels alone";
  return option.student ? `${labels} for ${option.student}` : labels;
}

// The recommendation in sentences; where it is not sure enough, the pilot comes first, at the plan's own prices.
function recommendationOf(shown, plan, isMoved) {
  const best = shown.recommended;
  const buy = keepsPilot(shown, plan) ? "The best purchase is" : "Buy";
  let said = [
    `${buy} ${best.name}: about ${score(best.expected)}, in 8 of 10 cases ${score(best.low)} to ${score(best.high)}. ` +
    certaintyText(best),
  ];
  if (isThin(shown, plan)) {
    said = [thinText(plan, isMoved), `As it stands: ${said[0]}`];
  }
  if (keepsPilot(shown, plan)) said.unshift(plan.kept.text);
  if (shown.runner_up) said.push(runnerUpText(shown.runner_up));
  return said;
}

// Whether nothing that could be bought is expected to score more than the pilot's best student does already.
function keepsPilot(shown, plan) {
  const tenths = value => Math.floor(value * 10 + 0.5);
  return plan.kept !== null && tenths(plan.kept.score) >= tenths(shown.recommended.expected);
}

function isThin(shown, plan) {
  return !shown.is_sure && plan.pilots.length > 0 && plan.pilot_gain_points > settings.least_gain_points;
}

function thinText(plan, isMoved) {
  const then = isMoved ? " (At the prices the plan was made with.)" : "";
  return `The evidence is thin: try a pilot first. ${plan.pilots[0]}${then}`;
}

function certaintyText(best) {
  return `${fixed(best.chance * 100, 0)}% likely to be within ${general(settings.close_points, 6)} point of the best ` +
    "that these dollars buy.";
}

function runnerUpText(runnerUp) {
  return `Runner-up: ${runnerUp.name}, about ${score(runnerUp.expected)}.`;
}

// Where the recommendation changes along one price, in sentences.
function changeText(found) {
  const name = settings.names[found.axis];
  const far = fixed(settings.farthest, 0);
  if (found.below === null && found.above === null) {
    return found.axis === "traffic" ? [`From 1/${far} to ${far} times the traffic the recommendation stays.`]
      : [`From 1/${far} to ${far} times today's price of ${name} the recommendation stays.`];
  }
  const said = [];
  for (const [side, factor, option] of [
    ["Below", found.below, found.becomes_below], ["Above", found.above, found.becomes_above],
  ]) {
    if (factor === null || option === null) continue;
    const times = general(factor, 2);
    let at = `${times} times today's price of ${name}`;
    if (found.axis === "labels" && found.today) {
      at = `$${general(found.today * factor, 3)} a label (${times} times today's price)`;
    }
    if (found.axis === "traffic" && found.today) at = `${whole(found.today * factor)} predictions a month`;
    said.push(`${side} ${at}, ${kindText(option)} would be recommended.`);
  }
  return said;
}

// The lines of an option's bill, and how each is drawn; what it does not buy is left out.
function costLines(option) {
  const lines = [
    ["labels", option.label_usd, "labels"],
    [`${whole(option.n_llm_labels)} labels of ${option.llm}`, option.llm_usd, "llm"],
    ["fine-tuning the teacher", option.finetune_usd, "finetuning"],
    [`distilling ${whole(option.n_unlabeled)}`, option.distill_usd, "distilling"],
    ["serving", option.serving_usd, "serving"],
  ];
  return lines.filter(([, usd], place) => place === 0 || usd);
}
