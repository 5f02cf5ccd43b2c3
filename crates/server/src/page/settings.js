// How the model is to write, the server's key, and the colours: kept in this browser, the key until its tab is closed.

const dialog = document.querySelector("#settings");
const form = dialog.querySelector("form");
const KEPT = ["max_tokens", "temperature", "top_p", "seed", "colours"];

/** What was set; numbers as numbers, nothing for what was left empty. */
export function settings() {
  const set = {};
  for (const field of form.elements) {
    if (field.name && field.value !== "" && field.validity.valid) set[field.name] = field.type === "number" ? Number(field.value) : field.value;
  }
  return set;
}

/** Those that the model's texts depend on. */
export function writing() {
  const { key, colours, ...rest } = settings();
  return rest;
}

function colour() {
  document.documentElement.dataset.colours = settings().colours ?? "";
}

/** Opens on the click of `button`; `changed` is called when something was set. */
export function init(button, changed) {
  for (const name of KEPT) {
    const field = form.elements[name];
    field.value = localStorage.getItem(`blip2.${name}`) ?? "";
    // Kept when more was allowed.
    if (!field.validity.valid) field.value = "";
  }
  form.elements.key.value = sessionStorage.getItem("blip2.key") ?? "";
  colour();
  button.addEventListener("click", () => dialog.showModal());
  form.elements.colours.addEventListener("change", colour);
  dialog.addEventListener("close", () => {
    for (const name of KEPT) localStorage.setItem(`blip2.${name}`, form.elements[name].value);
    sessionStorage.setItem("blip2.key", form.elements.key.value);
    changed();
  });
}
