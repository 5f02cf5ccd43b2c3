// The page: tabs, what the model can do, and the request of the open panel for use elsewhere.

import { ask } from "./api.js";
import { Caption } from "./caption.js";
import { hide } from "./heat.js";
import { Look } from "./look.js";
import { Match } from "./match.js";
import * as pictures from "./picture.js";
import * as settings from "./settings.js";
import * as snippets from "./snippets.js";
import { Talk } from "./talk.js";

const part = (id) => document.getElementById(id);
let model = "";
const panels = [new Caption(), new Talk(() => model), new Match(), new Look()];
let open = panels[0];

function choose(panel) {
  for (const each of panels) {
    const chosen = each === panel;
    each.tab.ariaSelected = String(chosen);
    each.tab.tabIndex = chosen ? 0 : -1;
    each.root.hidden = !chosen;
  }
  if (panel !== open) hide();
  open = panel;
  if (panel.found) panel.draw(panel.drawn);
  copies();
}

function tabs() {
  panels.forEach((panel, index) => {
    panel.tab.addEventListener("click", () => choose(panel));
    panel.tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const to = step ? (index + step + panels.length) % panels.length : { Home: 0, End: panels.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose(panels[to]);
      panels[to].tab.focus();
    });
  });
}

/** A request can be copied as soon as there is a picture. */
function copies() {
  for (const id of ["copy-curl", "copy-python"]) part(id).disabled = !pictures.picture();
  part("copied").textContent = "";
}

/** What a request needs beside it: the picture that was made smaller, which only the page has. */
function beside({ url, name, made }) {
  if (!made) return [];
  const link = Object.assign(document.createElement("a"), { href: url, download: name, textContent: name });
  return ["; save ", link, " for it"];
}

async function copy(form) {
  const text = form(open.path, open.body(), pictures.picture());
  const more = beside(pictures.picture());
  try {
    await navigator.clipboard.writeText(text);
    part("copied").replaceChildren("copied", ...more);
  } catch {
    // Without https or leave, the clipboard is shut; a selection can still be copied by hand.
    const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, rows: 8, ariaLabel: "The request" });
    part("copied").replaceChildren("copy it from here", ...more, ": ", area);
    area.select();
  }
}

/** Asks what the model is and can do, and says of each panel what it lacks. */
async function learn() {
  try {
    const { data } = await ask("/v1/models");
    const [{ id, lacks = {} }] = data;
    model = id;
    part("model").textContent = id;
    panels[0].lack(lacks.caption);
    panels[1].lack(lacks.chat);
    panels[2].lack(lacks.match);
    panels[3].lack(lacks.attention);
    part("look-text").disabled = Boolean(lacks.words);
    part("look-text").title = lacks.words ?? "";
    document.querySelector("#panel-look .optional").textContent = lacks.words ? `Not for words: ${lacks.words}.` : "The text may be left out.";
    if (open.lacking) choose(panels.find((panel) => !panel.lacking) ?? panels[0]);
  } catch (error) {
    part("model").textContent = error.message;
  }
}

pictures.onPicture(() => {
  for (const panel of panels) {
    panel.anew();
    panel.ready();
  }
  copies();
});
pictures.init();
tabs();
panels.forEach((panel) => panel.ready());
copies();
settings.init(part("open-settings"), learn);
part("clear").addEventListener("click", hide);
part("copy-curl").addEventListener("click", () => copy(snippets.curl));
part("copy-python").addEventListener("click", () => copy(snippets.python));
learn();
