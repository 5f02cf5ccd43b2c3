// The picture: chosen, dropped, pasted, or drawn as an example; shown, and told to whoever listens.

const part = (id) => document.getElementById(id);
const LARGEST = 8_000_000;
const SIDE = 2048;
const listeners = [];
let current = null;

/** The picture as a data URL, with the name of its file, and whether it was `made` smaller here; null before there is one. */
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

/**
 * The colours of `file` without their opacity, which the server drops, too: drawn on a canvas, what is clear would become black. Only
 * WebGL reads colours that no opacity was multiplied into; null where it is missing, or the picture too large for it.
 */
async function opaque(file) {
  const reader = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!reader) return null;
  const bitmap = await createImageBitmap(file, { premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const { TEXTURE_2D, RGBA, UNSIGNED_BYTE, FRAMEBUFFER, COLOR_ATTACHMENT0, FRAMEBUFFER_COMPLETE, MAX_TEXTURE_SIZE } = reader;
  if (Math.max(width, height) > reader.getParameter(MAX_TEXTURE_SIZE)) return null;
  const texture = reader.createTexture();
  reader.bindTexture(TEXTURE_2D, texture);
  reader.texImage2D(TEXTURE_2D, 0, RGBA, RGBA, UNSIGNED_BYTE, bitmap);
  bitmap.close();
  reader.bindFramebuffer(FRAMEBUFFER, reader.createFramebuffer());
  reader.framebufferTexture2D(FRAMEBUFFER, COLOR_ATTACHMENT0, TEXTURE_2D, texture, 0);
  if (reader.checkFramebufferStatus(FRAMEBUFFER) !== FRAMEBUFFER_COMPLETE) return null;
  const bytes = new Uint8Array(4 * width * height);
  reader.readPixels(0, 0, width, height, RGBA, UNSIGNED_BYTE, bytes);
  for (let opacity = 3; opacity < bytes.length; opacity += 4) bytes[opacity] = 255;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(bytes.buffer), width, height), 0, 0);
  return canvas;
}

/** `image`, which shows `file`, again, small enough to be sent: the model looks at far fewer pixels. */
async function smaller(image, file) {
  const plain = file.type === "image/jpeg" ? null : await opaque(file).catch(() => null);
  const scale = Math.min(1, SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  canvas.getContext("2d").drawImage(plain ?? image, 0, 0, canvas.width, canvas.height);
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
  const name = file.name || "picture.png";
  const made = file.size > LARGEST;
  current = { url: made ? await smaller(image, file) : url, name: made ? `${name.replace(/\.[^.]*$/, "")}-smaller.jpg` : name, made };
  const focused = part("drop").contains(document.activeElement);
  part("drop").hidden = true;
  for (const id of ["shown", "another"]) part(id).hidden = false;
  listeners.forEach((listener) => listener());
  // What had the focus is hidden now.
  if (focused) part("another").focus();
  part("chosen").textContent = `The picture is ${name}${made ? ", made smaller to be sent" : ""}.`;
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
