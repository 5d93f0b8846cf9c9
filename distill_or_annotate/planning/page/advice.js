// The recommendation, the frontier and break-evens: what planning/advice.py and break_evens.py compute.

// Options with what each is expected to score, and the means' matrix, option by option.
function judge(options, draws, plan) {
  const scores = new Float64Array(options.length * draws.count);
  const rowOf = place => scores.subarray(place * draws.count, (place + 1) * draws.count);
  const expected = options.map((option, place) => meanOf(scoreOption(option, draws, plan, rowOf(place))));
  return {options, expected, rowOf, highest: highestOf(scores, draws.count)};
}

function highestOf(scores, count) {
  const highest = scores.slice(0, count);
  for (let place = count, row = 0; place < scores.length; place++, row = row + 1 === count ? 0 : row + 1) {
    if (scores[place] > highest[row]) highest[row] = scores[place];
  }
  return highest;
}

// All that is said of one option among the judged: interval and chance are worked out for these alone.
function judgedOf(judged, place, draws, plan) {
  const option = judged.options[place];
  const runs = scoreOption(option, draws, plan, new Float64Array(draws.count), true).sort();
  const mean = judged.rowOf(place);
  let close = 0;
  for (let row = 0; row < draws.count; row++) if (mean[row] >= judged.highest[row] - settings.close_points) close++;
  return {
    option,
    name: nameOf(option),
    total_usd: totalUsd(option),
    expected: judged.expected[place],
    low: quantileOf(runs, 0.1),
    high: quantileOf(runs, 0.9),
    chance: close / draws.count,
  };
}

function bestPlace(judged, places) {
  return places[favourite(places.map(place => judged.options[place]), places.map(place => judged.expected[place]))];
}

// The recommendation at the plan's prices, and its runner-up: another strategy, or else other models.
function recommend(plan, draws) {
  const judged = judge(optionsOf(plan.wish, plan.prices), draws, plan);
  const all = judged.options.map((_, place) => place);
  const best = bestPlace(judged, all);
  let runnerUp = null;
  for (const same of [option => `${option.strategy} ${Boolean(option.llm)}`, kindOf]) {
    const others = all.filter(place => same(judged.options[place]) !== same(judged.options[best]));
    if (others.length) {
      runnerUp = judgedOf(judged, bestPlace(judged, others), draws, plan);
      break;
    }
  }
  const recommended = judgedOf(judged, best, draws, plan);
  return {
    recommended,
    runner_up: runnerUp,
    is_sure: recommended.chance >= settings.sure,
    infeasible: whyNot(plan.wish, plan.prices, judged.options),
  };
}

// The best option of each budget up to the wish's. A generator: between two steps the page may answer its reader.
function* frontierOf(plan, draws) {
  const found = [];
  for (let step = 0; step < settings.frontier_points; step++) {
    yield;
    const share = settings.frontier_from ** (1 - step / (settings.frontier_points - 1));
    const wish = {...plan.wish, budget_usd: plan.wish.budget_usd * share};
    const options = affordable(wish, plan.prices);
    if (!options) continue;
    const judged = judge(options, draws, plan);
    const best = judgedOf(judged, favourite(options, judged.expected), draws, plan);
    if (!found.length || best.expected > found[found.length - 1].expected + settings.frontier_rise_points) found.push(best);
  }
  const better = found.filter(each => plan.kept === null || each.expected > plan.kept.score);
  return better.length ? better : found.slice(-1);
}

function affordable(wish, prices) {
  try {
    return optionsOf(wish, prices);
  } catch (error) {
    if (error instanceof NothingAffordable) return null;
    throw error;
  }
}

// Where along each price that matters the recommendation changes.
function* breakEvensOf(plan, few) {
  const today = {labels: plan.prices.label_usd, compute: null};
  if (plan.prices.llms.length) today.llm = null;
  if (servedOf(plan.wish)) today.traffic = plan.wish.served_per_month;
  const kind = kindOf(bestAt(plan, few, "labels", 1));
  const found = [];
  for (const axis of Object.keys(today)) {
    const below = yield* changeOf(plan, few, axis, kind, 1 / settings.farthest);
    const above = yield* changeOf(plan, few, axis, kind, settings.farthest);
    found.push({
      axis, today: today[axis],
      below: below.factor, becomes_below: below.option, above: above.factor, becomes_above: above.option,
    });
  }
  return found;
}

function* changeOf(plan, few, axis, kind, farthest) {
  const none = {factor: null, option: null};
  let near = 0, far = 0, becomes = null;
  for (let step = 1; step <= settings.steps; step++) {
    yield;
    const option = bestAt(plan, few, axis, farthest ** (step / settings.steps));
    if (option === null) return none;
    if (kindOf(option) !== kind) {
      [near, far, becomes] = [(step - 1) / settings.steps, step / settings.steps, option];
      break;
    }
  }
  if (becomes === null) return none;
  for (let halving = 0; halving < settings.halvings; halving++) {
    yield;
    const middle = (near + far) / 2;
    const option = bestAt(plan, few, axis, farthest ** middle);
    if (kindOf(option) === kind) near = middle;
    else [far, becomes] = [middle, option];
  }
  return {factor: farthest ** far, option: becomes};
}

// What is best at another price; null where the budget buys nothing there.
function bestAt(plan, few, axis, factor) {
  const wish = axis === "traffic"
    ? {...plan.wish, served_per_month: plan.wish.served_per_month * factor} : plan.wish;
  const prices = axis === "traffic" ? plan.prices : scaledPrices(plan.prices, axis, factor);
  const options = affordable(wish, prices);
  if (!options) return null;
  const scores = new Float64Array(few.count);
  return options[favourite(options, options.map(option => meanOf(scoreOption(option, few, plan, scores))))];
}
