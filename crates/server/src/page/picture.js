// The picture: chosen, dropped, pasted, or drawn as an example; shown, and told to whoever listens.

const part = (id) => document.getElementById(id);
const LARGEST = 8_000_000;
const SIDE = 2048;
const listeners = [];
let current = null;

/** The picture as a data URL, with its name; null before there is one. */
export const picture = () => current;

/** Calls `listener` whenever there is another picture. */
export const onPicture = (listener) => listeners.push(listener);

function refuse(reason) {
  part("picture-error").textContent = reason;
  part("picture-error").hidden = !reason;
}

const read = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

/** `image` again, small enough to be sent: the model looks at far fewer pixels. */
function smaller(image) {
  const scale = Math.min(1, SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

async function show(file) {
  refuse("");
  if (!file.type.startsWith("image/")) return refuse(`${file.name || "this"} is no picture.`);
  const image = part("seen");
  const before = image.getAttribute("src");
  const url = await read(file);
  image.src = url;
  try {
    await image.decode();
  } catch {
    image.src = before ?? "";
    return refuse(`This browser cannot show ${file.name || "this picture"}: choose a JPEG, PNG, WebP or GIF.`);
  }
  image.alt = `The picture: ${file.name || "pasted"}`;
  image.parentElement.style.setProperty("--aspect", image.naturalWidth / image.naturalHeight);
  current = { url: file.size > LARGEST ? smaller(image) : url, name: file.name || "picture.png" };
  part("drop").hidden = true;
  for (const id of ["shown", "another"]) part(id).hidden = false;
  listeners.forEach((listener) => listener());
}

/** A scene that needs no file. */
function example() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 320;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#f4f1e8";
  pen.fillRect(0, 0, 320, 320);
  pen.fillStyle = "#d8342c";
  pen.beginPath();
  pen.arc(112, 104, 62, 0, 2 * Math.PI);
  pen.fill();
  pen.fillStyle = "#2a55c8";
  pen.fillRect(150, 186, 108, 108);
  canvas.toBlob((blob) => show(new File([blob], "example.png", { type: "image/png" })), "image/png");
}

export function init() {
  const input = part("file");
  input.addEventListener("change", () => {
    if (input.files[0]) show(input.files[0]);
    input.value = "";
  });
  part("another").addEventListener("click", () => input.click());
  part("example").addEventListener("click", example);
  const dropping = (event, on) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", on);
  };
  addEventListener("dragover", (event) => dropping(event, true));
  addEventListener("dragleave", (event) => event.relatedTarget === null && dropping(event, false));
  addEventListener("drop", (event) => {
    dropping(event, false);
    const file = event.dataTransfer?.files[0];
    if (file) show(file);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    show(file);
  });
}
