// Sliders with number fields: what may be moved, how far, and how it is written into the address.

// Sliders go from a twentieth of today's value to twenty times it, in steps of 3%; traffic from none.
const REACH = 20, FULL_WAY = 1000, STRIDE = 5, TRAFFIC_BEND = 3;
// What a field may hold.
const LEAST = 1e-6, MOST = 1e9;

function controlsOf(plan) {
  const {wish, prices} = plan;
  const money = value => `$${grouped(String(value))}`;
  const times = value => `${value} times today's price`;
  const monthly = value => `${grouped(String(value))} a month`;
  const found = [
    {id: "budget_usd", label: "Budget", unit: "dollars", today: wish.budget_usd, text: money},
    {id: "label_usd", label: "A label", unit: "dollars", today: prices.label_usd, text: money},
    {id: "compute_factor", label: "Accelerators", unit: "times today's price", today: prices.compute_factor, text: times},
  ];
  if (prices.llms.length) {
    const [label, unit] = ["Language model", "times today's price"];
    found.push({id: "llm_factor", label, unit, today: prices.llm_factor, text: times});
  }
  if (wish.served_per_month > 0) {
    const [label, unit] = ["Predictions", "a month"];
    found.push({id: "served_per_month", label, unit, today: wish.served_per_month, text: monthly, fromZero: true});
  }
  for (const control of found) control.home = homeOf(control);
  return found;
}

function hintOf(control) {
  return control.unit.startsWith("times") ? control.unit : `${control.unit}, planned ${grouped(String(control.today))}`;
}

// The plan with the controls' values in the place of today's.
function planAt(plan, values) {
  const wish = {...plan.wish, budget_usd: values.budget_usd};
  const prices = {...plan.prices, label_usd: values.label_usd, compute_factor: values.compute_factor};
  if ("llm_factor" in values) prices.llm_factor = values.llm_factor;
  if ("served_per_month" in values) wish.served_per_month = values.served_per_month;
  return {...plan, wish, prices};
}

function homeOf(control) {
  return control.fromZero ? STRIDE * Math.round(FULL_WAY * (1 / REACH) ** (1 / TRAFFIC_BEND) / STRIDE) : FULL_WAY / 2;
}

// A slider's place as a value of three digits; home is exactly today's.
function valueAt(control, place) {
  if (place === control.home) return control.today;
  const value = control.fromZero
    ? control.today * REACH * (place / FULL_WAY) ** TRAFFIC_BEND
    : control.today * REACH ** ((place - control.home) / (FULL_WAY / 2));
  return Number(value.toPrecision(3));
}

function placeOf(control, value) {
  if (value === control.today) return control.home;
  const place = control.fromZero
    ? FULL_WAY * (value / control.today / REACH) ** (1 / TRAFFIC_BEND)
    : control.home + FULL_WAY / 2 * Math.log(value / control.today) / Math.log(REACH);
  return Math.min(Math.max(place, 0), FULL_WAY);
}

function isAllowed(control, value) {
  return value <= MOST && (value >= LEAST || (control.fromZero && value === 0));
}

// The controls' values as the address has them; what is missing or not allowed is today's.
function valuesOf(controls, fragment) {
  const said = new URLSearchParams(fragment.replace(/^#/, ""));
  return Object.fromEntries(controls.map(control => {
    const value = said.has(control.id) && said.get(control.id).trim() !== "" ? Number(said.get(control.id)) : NaN;
    return [control.id, isAllowed(control, value) ? value : control.today];
  }));
}

function fragmentOf(values) {
  return `#${Object.entries(values).map(([name, value]) => `${name}=${value}`).join("&")}`;
}

// Builds the controls; `moved` is called with the values after each move.
function buildControls(controls, container, values, moved) {
  for (const control of controls) {
    const {id} = control;
    const hint = `${id}-hint`;
    const field = made("input", {
      id, name: id, type: "number", min: 0, step: "any", inputmode: "decimal", "aria-describedby": hint,
    });
    const slider = made("input", {
      id: `${id}-slider`, type: "range", min: 0, max: FULL_WAY, step: STRIDE, "aria-label": `${control.label}, ${control.unit}`,
      "aria-describedby": hint, list: `${id}-plan`,
    });
    field.addEventListener("input", () => {
      const value = field.value.trim() === "" ? NaN : Number(field.value);
      field.setAttribute("aria-invalid", String(!isAllowed(control, value)));
      if (!isAllowed(control, value)) return;
      values[id] = value;
      showSlider(control, slider, value);
      moved();
    });
    field.addEventListener("blur", () => showValue(control, field, slider, values[id]));
    slider.addEventListener("input", () => {
      values[id] = valueAt(control, Number(slider.value));
      showValue(control, field, slider, values[id], true);
      moved();
    });
    container.append(made("div", {class: "control"},
      made("label", {for: id}, control.label), made("small", {id: hint}, hintOf(control)), field, slider,
      made("datalist", {id: `${id}-plan`}, made("option", {value: control.home}))));
    control.show = value => showValue(control, field, slider, value);
  }
}

function showSlider(control, slider, value) {
  slider.value = placeOf(control, value);
  slider.setAttribute("aria-valuetext", control.text(value));
}

function showValue(control, field, slider, value, isSliders = false) {
  field.value = value;
  field.setAttribute("aria-invalid", "false");
  if (isSliders) slider.setAttribute("aria-valuetext", control.text(value));
  else showSlider(control, slider, value);
}
