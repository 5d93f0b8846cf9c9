// Pictures: the interval of a recommendation, the frontier with its band, the bar of a bill.

const MARKS = {annotate: "labels alone", distill: "distilled", teacher: "teacher serving"};

// An SVG element, then an HTML one; text is never read as markup.
function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function made(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A shape for each strategy: colour never says it alone.
function markOf(strategy, x, y, size, attributes = {}) {
  const named = {class: `mark ${strategy}`, ...attributes};
  if (strategy === "distill") return drawn("circle", {cx: x, cy: y, r: size, ...named});
  if (strategy === "annotate") {
    const half = size * 0.9;
    return drawn("rect", {x: x - half, y: y - half, width: 2 * half, height: 2 * half, ...named});
  }
  const points = [[x, y - 1.2 * size], [x + 1.1 * size, y + 0.8 * size], [x - 1.1 * size, y + 0.8 * size]];
  return drawn("polygon", {points: points.map(point => point.join(",")).join(" "), ...named});
}

// From 0 to 100: where one run in eight of ten ends, the expected score, and the runner-up's.
function intervalChart(best, runnerUp, width) {
  const [left, right, y] = [8, width - 8, 18];
  const at = points => left + (right - left) * points / 100;
  const said = `Expected score ${score(best.expected)}; 8 of 10 runs between ${score(best.low)} and ${score(best.high)}.`;
  const svg = drawn("svg", {viewBox: `0 0 ${width} 46`, role: "img", "aria-label": said});
  svg.append(drawn("line", {class: "axis", x1: left, x2: right, y1: y, y2: y}));
  for (const tick of [0, 25, 50, 75, 100]) {
    const anchor = tick === 0 ? "start" : tick === 100 ? "end" : "middle";
    svg.append(
      drawn("line", {class: "axis", x1: at(tick), x2: at(tick), y1: y - 3, y2: y + 3}),
      drawn("text", {x: anchor === "start" ? 0 : anchor === "end" ? width : at(tick), y: 42, "text-anchor": anchor}, `${tick}`),
    );
  }
  const band = Math.max(at(best.high) - at(best.low), 3);
  svg.append(drawn("rect", {class: "range", x: at(best.low), y: y - 7, width: band, height: 14, rx: 7}));
  if (runnerUp) {
    const mark = markOf(runnerUp.option.strategy, at(runnerUp.expected), y, 5);
    mark.classList.add("hollow");
    mark.append(drawn("title", {}, runnerUpText(runnerUp)));
    svg.append(mark);
  }
  svg.append(markOf(best.option.strategy, at(best.expected), y, 7));
  return svg;
}

// Round numbers of dollars on a log scale.
function dollarTicks(least, most, room) {
  const found = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const step of [1, 2, 5]) {
      const usd = step * 10 ** power;
      if (usd >= least * 0.999 && usd <= most * 1.001) found.push(usd);
    }
  }
  const every = Math.ceil(found.length / room);
  return found.filter((_, place) => place % every === 0);
}

function shortDollars(usd) {
  if (usd >= 1e6) return `$${general(usd / 1e6, 3)}M`;
  if (usd >= 1e4) return `$${general(usd / 1e3, 3)}k`;
  return `$${usd < 1 ? general(usd, 2) : whole(usd)}`;
}

function frontierChart(frontier, metric, width) {
  const height = Math.round(Math.min(Math.max(width * 0.46, 220), 330));
  const box = {left: 34, right: width - 16, top: 26, bottom: height - 40};
  const usd = frontier.map(each => each.total_usd);
  let [least, most] = [Math.min(...usd), Math.max(...usd)].map(each => Math.max(each, 0.01));
  if (most / least < 1.5) [least, most] = [least / 1.5, most * 1.5];
  const top = Math.min(100, 10 * Math.ceil(Math.max(...frontier.map(each => each.high)) / 10 + 0.05));
  const bottom = Math.max(0, Math.min(10 * Math.floor(Math.min(...frontier.map(each => each.low)) / 10), top - 20));
  const x = value => box.left + (box.right - box.left) * Math.log(Math.max(value, 0.01) / least) / Math.log(most / least);
  const y = value => box.bottom - (box.bottom - box.top) * (value - bottom) / (top - bottom);
  const last = frontier[frontier.length - 1];
  const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": "chart-title chart-desc"});
  svg.append(
    drawn("title", {id: "chart-title"}, "Expected score of the best purchase by dollars"),
    drawn("desc", {id: "chart-desc"},
      `From ${score(frontier[0].expected)} for ${dollars(frontier[0].total_usd)} to ${score(last.expected)} for ` +
      `${dollars(last.total_usd)}; in 8 of 10 cases ${score(last.low)} to ${score(last.high)}. The table below has each.`),
  );
  const step = [20, 10, 5, 2].find(each => top - bottom > 2.5 * each) || 2;
  for (let tick = Math.ceil(bottom / step) * step; tick <= top; tick += step) {
    svg.append(
      drawn("line", {class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick)}),
      drawn("text", {x: box.left - 8, y: y(tick) + 4, "text-anchor": "end"}, `${tick}`),
    );
  }
  for (const tick of dollarTicks(least, most, Math.max(2, Math.floor(width / 85)))) {
    svg.append(
      drawn("line", {class: "axis", x1: x(tick), x2: x(tick), y1: box.bottom, y2: box.bottom + 4}),
      drawn("text", {x: x(tick), y: box.bottom + 19, "text-anchor": "middle"}, shortDollars(tick)),
    );
  }
  svg.append(
    drawn("line", {class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom}),
    drawn("text", {class: "name", x: 0, y: 12}, metric ? `${metric}, percent` : "Score, percent"),
    drawn("text", {class: "name", x: box.right, y: height - 2, "text-anchor": "end"}, "Dollars spent"),
  );
  const along = key => frontier.map(each => `${x(each.total_usd)},${y(each[key])}`);
  svg.append(
    drawn("polygon", {class: "band", points: [...along("high"), ...along("low").reverse()].join(" ")}),
    drawn("polyline", {class: "line", points: along("expected").join(" ")}),
  );
  for (const each of frontier) {
    const mark = markOf(each.option.strategy, x(each.total_usd), y(each.expected), each === last ? 6 : 4.5);
    mark.append(drawn("title", {}, `${dollars(each.total_usd)}: ${each.name}, about ${score(each.expected)}`));
    svg.append(mark);
  }
  svg.append(drawn("text", {class: "value", x: x(last.total_usd), y: y(last.expected) - 12, "text-anchor": "end"}, score(last.expected)));
  return svg;
}

// A mark beside words.
function keyOf(strategy, look = "filled") {
  const mark = markOf(strategy, 7, 7, 4.5);
  mark.classList.add(look);
  return drawn("svg", {class: "key", viewBox: "0 0 14 14", "aria-hidden": "true"}, mark);
}

function legendOf(frontier) {
  const parts = Object.keys(MARKS).filter(name => frontier.some(each => each.option.strategy === name)).map(name =>
    made("span", {}, keyOf(name), MARKS[name]));
  const band = drawn("svg", {class: "key", viewBox: "0 0 14 14", "aria-hidden": "true"},
    drawn("rect", {class: "band", x: 0, y: 2, width: 14, height: 10}));
  return [...parts, made("span", {}, band, "8 of 10 runs end here")];
}
