// Uploads pictures one by one, so that a large folder shows its progress and one bad file stops nothing.

const form = document.getElementById("upload-form");

function report(state, done, total, words) {
  state.hidden = false;
  state.querySelector("progress").value = total ? done / total : 0;
  state.querySelector("[role=status]").textContent = words;
}

async function send(file) {
  const body = new FormData();
  body.append("file", file);
  try {
    const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/plain" } });
    if (response.status === 401) location.reload(); // the session ended: the page sends us to the login
    return response.ok ? null : (await response.text());
  } catch {
    return "The server did not answer.";
  }
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...form.elements.file.files];
  const state = document.getElementById("upload-state");
  const problems = document.getElementById("upload-problems");
  const button = form.querySelector("[type=submit]");
  problems.replaceChildren();
  problems.hidden = true;
  button.disabled = true;
  let accepted = 0;
  for (const [index, file] of files.entries()) {
    report(state, index, files.length, `Uploading ${index + 1} of ${files.length}: ${file.name}`);
    const problem = await send(file);
    if (problem === null) accepted += 1;
    else {
      const line = document.createElement("li");
      line.textContent = `${file.name}: ${problem}`;
      problems.append(line);
      problems.hidden = false;
    }
  }
  report(state, 1, 1, `${accepted} of ${files.length} ${files.length === 1 ? "picture" : "pictures"} became jobs.`);
  button.disabled = false;
  form.elements.file.value = "";
  document.dispatchEvent(new CustomEvent("jobs:changed"));
  if (accepted === files.length) setTimeout(() => form.closest("dialog").close(), 900);
});

document.getElementById("upload")?.addEventListener("close", () => {
  document.getElementById("upload-state").hidden = true;
  document.getElementById("upload-problems").hidden = true;
});
