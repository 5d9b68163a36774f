// Gradio calls this script, followed by page.js, with `element`, `props` and `server`.
// The request of a photo to the server, and its answer, as page.js wants them.
async function parser({ example, file }) {
  const request = file ? { name: file.name, data: await base64(file) } : { example };
  const answer = await server.parse(request).catch(() => {
    throw new Error("The server does not answer. Is it still running?");
  });
  if (answer.error) throw new Error(answer.error);
  const image = new Image();
  image.src = answer.image;
  await image.decode();
  const owners = answer.owners ? await inflate(answer.owners) : null;
  return { ...answer, image, owners, labels: await inflate(answer.labels) };
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] || "");
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
