// Toasts leave by themselves when all went well, and wait to be dismissed when not; also the copy buttons.

const SHOWN_MS = 6000;
const LEAVING_MS = 300;
const toasts = document.getElementById("toasts");

function leave(toast) {
  toast.dataset.leaving = "";
  setTimeout(() => toast.remove(), LEAVING_MS);
}

function watch(toast) {
  if (toast.dataset.kind !== "done") return;
  let timer = setTimeout(() => leave(toast), SHOWN_MS);
  const wait = () => clearTimeout(timer);
  const goOn = () => {
    clearTimeout(timer);
    timer = setTimeout(() => leave(toast), SHOWN_MS);
  };
  toast.addEventListener("pointerenter", wait);
  toast.addEventListener("focusin", wait);
  toast.addEventListener("pointerleave", goOn);
  toast.addEventListener("focusout", goOn);
}

if (toasts) {
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) if (node.classList?.contains("toast")) watch(node);
    }
  }).observe(toasts, { childList: true });
}

document.addEventListener("click", async (event) => {
  const dismiss = event.target.closest?.("[data-dismiss]");
  if (dismiss) leave(dismiss.closest(".toast"));
  const copy = event.target.closest?.("[data-copy]");
  if (!copy) return;
  const words = copy.querySelector("span");
  try {
    await navigator.clipboard.writeText(document.querySelector(copy.dataset.copy).textContent);
    words.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(document.querySelector(copy.dataset.copy));
    words.textContent = "Selected"; // without a secure context the browser lets people copy, not pages
  }
});
