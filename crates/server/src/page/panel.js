// What all panels have in common: a form that is busy while it asks, an error, and a word on what the model lacks.

import { picture } from "./picture.js";

export class Panel {
  constructor(name, path) {
    this.path = path;
    this.tab = document.querySelector(`#tab-${name}`);
    this.root = document.querySelector(`#panel-${name}`);
    this.form = this.find("form");
    this.button = this.find("button.main");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.button.disabled) this.run();
    });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  /** The body of the request as the form has it; panels say what. */
  body() {
    return {};
  }

  /** Says why the model cannot do this; nothing where it can. */
  lack(reason) {
    const absent = this.find(".absent");
    absent.textContent = reason ?? "";
    absent.hidden = !reason;
    this.lacking = Boolean(reason);
    this.tab.classList.toggle("lacking", this.lacking);
    this.tab.title = reason ?? "";
    this.ready();
  }

  ready() {
    this.button.disabled = this.lacking || !picture() || this.root.ariaBusy === "true";
    this.button.title = this.lacking || picture() ? "" : "Choose a picture first";
  }

  fail(error) {
    const place = this.find(".error");
    place.textContent = error ? error.message : "";
    place.hidden = !error;
  }

  /** Does `work` while the form is busy, and says what goes wrong. */
  async busy(work) {
    this.fail(null);
    this.root.ariaBusy = "true";
    this.ready();
    try {
      await work();
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      this.root.ariaBusy = "false";
      this.ready();
    }
  }
}

/** An element with this text. */
export function element(tag, text = "", classes = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}
