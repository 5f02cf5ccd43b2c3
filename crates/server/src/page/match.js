// Which texts belong to the picture.

import { ask } from "./api.js";
import { Panel, element } from "./panel.js";
import { picture } from "./picture.js";

export class Match extends Panel {
  constructor() {
    super("match", "/v1/match");
    this.table = this.find("table");
  }

  body() {
    const { value, placeholder } = this.form.elements.texts;
    const lines = (value.trim() || placeholder).split("\n").map((line) => line.trim());
    return { image: picture().url, texts: lines.filter(Boolean) };
  }

  anew() {
    this.table.hidden = true;
    this.fail(null);
  }

  run() {
    return this.busy(async () => {
      const { matches } = await ask(this.path, this.body());
      const rows = matches.toSorted((a, b) => b.itm_probability - a.itm_probability).map(({ text, itm_probability, itc }) => {
        const row = document.createElement("tr");
        const match = element("td", itm_probability.toFixed(3));
        const meter = document.createElement("meter");
        meter.value = itm_probability;
        meter.setAttribute("aria-hidden", "true");
        match.append(meter);
        row.append(element("td", text), match, element("td", itc.toFixed(3)));
        return row;
      });
      this.table.tBodies[0].replaceChildren(...rows);
      this.table.hidden = false;
    });
  }
}
