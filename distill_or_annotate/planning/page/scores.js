// What options score under each draw: what planning/curves.py, noisy_labels.py and posterior.Draws.scores compute.

const ANNOTATE_RATE = 0, TEACHER_RATE = 1, POOL_RATE = 2, ANNOTATE_ONSET = 3, TEACHER_ONSET = 4;

// Columns of draws as floats, and what never changes with prices.
function readDraws(embedded) {
  const columns = name => embedded[name].map(column => Float64Array.from(column, value => value / embedded.unit));
  const [drawn, linear, dice] = [columns("drawn"), columns("linear"), columns("dice")];
  return withDerived({drawn, linear, dice, floor: embedded.floor, count: drawn[0].length});
}

function withDerived(draws) {
  draws.rates = [ANNOTATE_RATE, TEACHER_RATE, POOL_RATE].map(column => draws.drawn[column].map(Math.exp));
  // A model has begun where luck < 1 / (1 + exp(-sharpness (log N - onset))): solved for log N.
  draws.luckLogit = [0, 1].map(column => draws.dice[column].map(luck => Math.log(luck / (1 - luck)) / settings.sharpness));
  draws.powers = [new Map(), new Map(), new Map()];
  return draws;
}

// Some of the draws, spread over all.
function firstDraws(draws, count) {
  const stride = Math.ceil(draws.count / count);
  const kept = columns => columns.map(column => column.filter((_, row) => row % stride === 0));
  const [drawn, linear, dice] = [draws.drawn, draws.linear, draws.dice].map(kept);
  return withDerived({drawn, linear, dice, floor: draws.floor, count: drawn[0].length});
}

// x^-rate under each draw. Options share sizes, and sliders come back to them.
function powerOf(draws, rate, x) {
  const known = draws.powers[rate];
  let found = known.get(x);
  if (!found) {
    if (known.size > 400) known.clear();
    const logX = Math.log(x);
    found = draws.rates[rate].map(each => Math.exp(-each * logX));
    known.set(x, found);
  }
  return found;
}

function logit(percent) {
  const share = Math.min(Math.max(percent / 100, 0.003), 0.997);
  return Math.log(share / (1 - share));
}

function percentOf(logOdds) {
  return 100 / (1 + Math.exp(-Math.min(Math.max(logOdds, -30), 30)));
}

// log(exp(one) + exp(other))
function logAddExp(one, other) {
  return Math.max(one, other) + Math.log1p(Math.exp(-Math.abs(one - other)));
}

// Under each draw, the log of the labels from which on the option has begun to learn.
function begins(option, draws, decades) {
  const isAnnotated = option.strategy === "annotate";
  const above = isAnnotated ? 1 - decades.student[option.student] / settings.span
    : -decades.teacher[option.teacher] / settings.span;
  const share = Math.min(Math.max(above, 0), 1);
  const teacher = draws.drawn[TEACHER_ONSET], annotate = draws.drawn[ANNOTATE_ONSET];
  const luck = draws.luckLogit[isAnnotated ? 0 : 1];
  return row => teacher[row] + share * (annotate[row] - teacher[row]) + luck[row];
}

// Log odds under a draw of an option trained on labels of people.
function logOddsOf(option, draws, decades) {
  const [, annotateGap, , teacherGap, , poolGap, labelTilt, modelSize, taughtSize, studentSize] = draws.linear;
  const [annotateCeiling, , teacherCeiling, , distillGap] = draws.linear;
  const thousands = option.n_labels / 1000;
  if (option.strategy === "annotate") {
    const power = powerOf(draws, ANNOTATE_RATE, thousands);
    const size = decades.student[option.student];
    return row => annotateCeiling[row] - annotateGap[row] * power[row] + modelSize[row] * size;
  }
  const power = powerOf(draws, TEACHER_RATE, thousands);
  const teacher = decades.teacher[option.teacher];
  if (option.strategy === "teacher") {
    return row => teacherCeiling[row] - teacherGap[row] * power[row] + modelSize[row] * teacher;
  }
  const pool = powerOf(draws, POOL_RATE, Math.max(option.n_unlabeled, settings.least_pool_asked) / 10000);
  const student = decades.student[option.student];
  const tilt = Math.log10(thousands);
  return row => teacherCeiling[row] - teacherGap[row] * power[row] - distillGap[row] - poolGap[row] * pool[row] +
    labelTilt[row] * tilt + taughtSize[row] * teacher + studentSize[row] * student;
}

// The same of an option whose labels are partly a language model's, and the log of what its labels are worth.
function noisyOf(option, draws, decades, llm) {
  const [annotateCeiling, annotateGap] = draws.linear;
  const modelSize = draws.linear[7], rates = draws.rates[ANNOTATE_RATE];
  const size = decades.student[option.student];
  const share = option.n_llm_labels / (option.n_llm_labels + option.n_labels);
  const scoreLogit = logit(llm.score);
  const right = row => 1 / (1 + Math.exp(-(scoreLogit + llm.stderr * draws.dice[4][row])));
  const logWorth = row => {
    const signal = Math.max(right(row) - llm.chance, 0) / (1 - llm.chance);
    return Math.log(Math.max(option.n_labels + signal * signal * option.n_llm_labels, 1));
  };
  const logOdds = (row, worth) => {
    const free = annotateCeiling[row] - annotateGap[row] * Math.exp(-rates[row] * (worth - Math.log(1000))) +
      modelSize[row] * size;
    const ceiling = logit(100 * (1 - share * (1 - right(row)))) + settings.shift[0] +
      settings.shift[1] * draws.dice[5][row];
    return -logAddExp(-settings.bend * free, -settings.bend * ceiling) / settings.bend;
  };
  return {logWorth, logOdds};
}

// Fills `into` with the option's score under each draw, in percent; of a single training run, or of the mean over many.
function scoreOption(option, draws, plan, into, withRunNoise = false) {
  const {decades, prices} = plan;
  const from = begins(option, draws, decades);
  const llm = option.llm ? prices.llms.find(each => each.name === option.llm) : null;
  const noisy = llm ? noisyOf(option, draws, decades, llm) : null;
  const people = llm ? null : logOddsOf(option, draws, decades);
  const logLabels = Math.log(Math.max(option.n_labels, 1));
  const {floor} = draws;
  for (let row = 0; row < draws.count; row++) {
    const worth = noisy ? noisy.logWorth(row) : logLabels;
    if (!(from(row) < worth)) {
      into[row] = floor;
      continue;
    }
    let logOdds = noisy ? noisy.logOdds(row, worth) : people(row);
    if (withRunNoise) logOdds += settings.run_noise_logit * draws.dice[2][row];
    let score = percentOf(logOdds);
    if (withRunNoise) score = Math.min(Math.max(score + settings.run_noise_points * draws.dice[3][row], 0), 100);
    into[row] = Math.max(score, floor);
  }
  return into;
}

function meanOf(values) {
  let sum = 0;
  for (let row = 0; row < values.length; row++) sum += values[row];
  return sum / values.length;
}

// A quantile of sorted values, between two of them linear.
function quantileOf(sorted, share) {
  const place = (sorted.length - 1) * share;
  const left = Math.floor(place);
  const rest = place - left;
  const [a, b] = [sorted[left], sorted[Math.min(left + 1, sorted.length - 1)]];
  return rest >= 0.5 ? b - (b - a) * (1 - rest) : a + (b - a) * rest;
}

// The highest expected score; of those that agree to a tenth of a point the cheapest, then the first.
function favourite(options, expected) {
  let best = 0;
  const tenths = place => Math.floor(expected[place] * 10 + 0.5);
  for (let place = 1; place < options.length; place++) {
    const ahead = tenths(place) - tenths(best);
    if (ahead > 0 || (ahead === 0 && totalUsd(options[place]) < totalUsd(options[best]))) best = place;
  }
  return best;
}
