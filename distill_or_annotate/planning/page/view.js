// The page: the recommendation moves with the sliders at once, frontier and break-evens a moment later.

// How long nothing must move before the rest is worked out, and how long it may work before the page may answer.
const REST_MS = 160, CHUNK_MS = 12;
const plan = JSON.parse(document.getElementById("numbers").textContent);
const settings = plan.settings;
const draws = readDraws(plan.draws);
const few = firstDraws(draws, settings.scanned);
const controls = controlsOf(plan);
const values = valuesOf(controls, location.hash);
const at = id => document.getElementById(id);
let shown = null, timer = 0;

function listInto(id, sentences) {
  at(id).replaceChildren(...sentences.map(said => made("li", {}, said)));
}

function isToday() {
  return controls.every(control => values[control.id] === control.today);
}

// Works out and shows the recommendation at the controls' prices, and has the rest follow.
function update() {
  const started = performance.now();
  const asked = planAt(plan, values);
  try {
    shown = {...recommend(asked, draws), values: {...values}};
    showRecommendation(asked);
  } catch (error) {
    if (!(error instanceof NothingAffordable)) throw error;
    shown = {nothing: error.message, values: {...values}};
    showNothing();
  }
  shown.milliseconds = performance.now() - started;
  at("budget").textContent = dollars(values.budget_usd);
  at("reset").disabled = isToday();
  for (const id of ["frontier", "changes"]) {
    at(id).classList.add("stale");
    at(id).setAttribute("aria-busy", "true");
  }
  clearTimeout(timer);
  timer = setTimeout(settle, REST_MS, asked);
}

function showRecommendation(asked) {
  const best = shown.recommended;
  at("found").hidden = false;
  at("nothing").hidden = true;
  at("bill").hidden = at("frontier").hidden = at("changes").hidden = false;
  const isThinNow = isThin(shown, asked);
  at("thin").hidden = !isThinNow;
  at("thin").textContent = isThinNow ? thinText(plan, !isToday()) : "";
  const keeps = keepsPilot(shown, plan);
  at("kept").hidden = !keeps;
  at("kept").textContent = keeps ? plan.kept.text : "";
  const buy = isThinNow ? "As it stands, buy" : "Buy";
  at("buy").textContent = `${keeps ? "The best purchase:" : buy} ${best.name}`;
  at("brief").textContent = `${best.name}: ${score(best.expected)}`;
  at("expected").textContent =
    `Expected score ${score(best.expected)}; in 8 of 10 cases ${score(best.low)} to ${score(best.high)}.`;
  at("certainty").textContent = certaintyText(best);
  at("runner-up").hidden = !shown.runner_up;
  if (shown.runner_up) {
    const mark = keyOf(shown.runner_up.option.strategy, "hollow");
    at("runner-up").replaceChildren(mark, runnerUpText(shown.runner_up));
  }
  drawInterval();
  showBill(best);
  showSentences("infeasible", "infeasible-list", shown.infeasible);
}

function drawInterval() {
  const place = at("interval");
  place.replaceChildren(intervalChart(shown.recommended, shown.runner_up, Math.max(place.clientWidth, 240)));
}

function showSentences(section, list, sentences) {
  at(section).hidden = sentences.length === 0;
  listInto(list, sentences);
}

function showNothing() {
  at("found").hidden = true;
  at("brief").textContent = "Nothing of use";
  at("nothing").hidden = false;
  at("nothing").textContent = `${shown.nothing} Try a larger budget.`;
  at("bill").hidden = at("frontier").hidden = at("changes").hidden = at("infeasible").hidden = true;
}

function showBill(best) {
  const lines = costLines(best.option);
  const share = usd => best.total_usd ? usd / best.total_usd : 0;
  at("bar").replaceChildren(...lines.map(([, usd, kind]) =>
    made("span", {class: `part ${kind}`, style: `flex-grow: ${share(usd).toFixed(4)}`})));
  const rows = lines.map(([name, usd, kind]) => made("tr", {},
    made("th", {scope: "row"}, made("span", {class: `part swatch ${kind}`}), name),
    made("td", {}, dollars(usd)), made("td", {}, `${fixed(100 * share(usd), 0)}%`)));
  rows.push(made("tr", {class: "all"}, made("th", {scope: "row"}, "all"), made("td", {}, dollars(best.total_usd)),
    made("td", {}, `of ${dollars(values.budget_usd)}`)));
  at("bill-lines").replaceChildren(...rows);
}

// Once nothing moves: the address, the spoken recommendation, then frontier and break-evens in pieces.
function settle(asked) {
  keepInAddress();
  at("status").textContent = shown.nothing || recommendationOf(shown, asked, !isToday()).join(" ");
  if (shown.nothing) {
    finish();
    return;
  }
  const work = rest(asked);
  const piece = () => {
    const until = performance.now() + CHUNK_MS;
    while (performance.now() < until) if (work.next().done) return;
    timer = setTimeout(piece);
  };
  piece();
}

function keepInAddress() {
  try {
    history.replaceState(null, "", fragmentOf(values));
  } catch {
    // Mail programs and sandboxes may show a page without an address of its own; everything else still works.
  }
}

function* rest(asked) {
  shown.frontier = yield* frontierOf(asked, draws);
  showFrontier();
  shown.break_evens = yield* breakEvensOf(asked, few);
  listInto("change-list", shown.break_evens.flatMap(changeText));
  finish();
}

// Says that all that is shown belongs together, to whoever drives the page.
function finish() {
  fresh("frontier");
  fresh("changes");
  document.dispatchEvent(new CustomEvent("planned", {detail: shown}));
}

function fresh(id) {
  at(id).classList.remove("stale");
  at(id).removeAttribute("aria-busy");
}

function showFrontier() {
  drawFrontier();
  at("legend").replaceChildren(...legendOf(shown.frontier));
  at("frontier-lines").replaceChildren(...shown.frontier.map(each => made("tr", {},
    made("td", {}, dollars(each.total_usd)), made("th", {scope: "row"}, each.name),
    made("td", {}, score(each.expected)), made("td", {}, `${fixed(each.low, 0)} to ${fixed(each.high, 0)}`))));
  fresh("frontier");
}

function drawFrontier() {
  at("chart").replaceChildren(frontierChart(shown.frontier, plan.metric, Math.max(at("chart").clientWidth, 260)));
}

function showValues() {
  for (const control of controls) control.show(values[control.id]);
  update();
}

buildControls(controls, at("control-list"), values, update);
at("controls").addEventListener("submit", event => event.preventDefault());
at("controls").addEventListener("reset", event => {
  event.preventDefault();
  for (const control of controls) values[control.id] = control.today;
  showValues();
});
addEventListener("hashchange", () => {
  Object.assign(values, valuesOf(controls, location.hash));
  showValues();
});
addEventListener("resize", () => {
  if (shown.recommended) drawInterval();
  if (shown.frontier) drawFrontier();
});
listInto("assumption-list", plan.assumptions);
showSentences("pilots", "pilot-list", plan.pilots);
showValues();
