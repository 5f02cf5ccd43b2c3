// Captions.

import { ask } from "./api.js";
import { Panel, element } from "./panel.js";
import { picture } from "./picture.js";
import { writing } from "./settings.js";

export class Caption extends Panel {
  constructor() {
    super("caption", "/v1/caption");
    this.list = this.find("ol");
  }

  body() {
    return { image: picture().url, num_captions: Number(this.form.elements.count.value), ...writing() };
  }

  anew() {
    this.list.replaceChildren();
    this.fail(null);
  }

  run() {
    return this.busy(async () => {
      const { captions } = await ask(this.path, this.body());
      const items = captions.map(({ text, score }) => {
        const item = element("li", text || "(nothing)");
        if (captions.length > 1 && Number.isFinite(score)) item.append(element("small", `score ${score.toFixed(2)}`));
        return item;
      });
      this.list.replaceChildren(...items);
    });
  }
}
