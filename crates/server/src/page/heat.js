// Weights over the picture as a layer of colour: clear where the model looks, dark where it does not.

const canvas = document.querySelector("#heat");
const told = document.querySelector("#told");
const clear = document.querySelector("#clear");
// Red, green, blue and opacity, as the reports and `blip2 attend` have them.
const AWAY = [18, 22, 48, 190];
const THERE = [255, 176, 32, 45];

/** Where the greatest of `weights` lies, in words. */
function place(weights, [rows, columns]) {
  const greatest = weights.indexOf(Math.max(...weights));
  const third = (index, count) => Math.min(2, Math.floor((3 * (index + 0.5)) / count));
  const row = ["upper", "", "lower"][third(Math.floor(greatest / columns), rows)];
  const column = ["left", "", "right"][third(greatest % columns, columns)];
  return row || column ? `the ${[row, column].filter(Boolean).join(" ")}${row && column ? "" : row ? " middle" : " side"}` : "the middle";
}

/** Lays `weights` of `grid` (rows, columns) over the picture; `name` says whose they are. */
export function show(weights, grid, name) {
  const [rows, columns] = grid;
  const most = Math.max(...weights);
  const small = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  weights.forEach((weight, index) => {
    const strength = most > 0 ? weight / most : 0;
    AWAY.forEach((away, part) => (pixels.data[4 * index + part] = away + (THERE[part] - away) * strength));
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  // The browser smooths between the patches.
  canvas.width = 32 * columns;
  canvas.height = 32 * rows;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  told.textContent = most > 0 ? `${name}: mostly ${place(weights, grid)}.` : `${name}: nothing here speaks for it.`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Heat map. ${told.textContent}`);
  canvas.hidden = clear.hidden = false;
  document.body.classList.add("looking");
}

/** Shows the picture as it is. */
export function hide() {
  canvas.hidden = clear.hidden = true;
  document.body.classList.remove("looking");
  told.textContent = "";
}
