// Opens and closes dialogs: the one that the server fills (`#dialog`), and those already in the page.
// The browser gives the focus back to the button that opened one; `live.js` keeps the place when that button goes.

const dialog = document.getElementById("dialog");

// Only a question swapped in opens it: a refresh of the rows may come while a closed one is still being cleared.
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx?.target === dialog && !dialog.open) dialog.showModal();
});

dialog.addEventListener("close", () => dialog.replaceChildren());

document.addEventListener("htmx:finally:request", (event) => {
  if (event.detail.ctx.sourceElement?.matches?.("[data-closes-dialog]")) dialog.close();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-open]");
  if (button) document.querySelector(button.dataset.open)?.showModal();
  if (event.target.closest?.("[data-close]")) event.target.closest("dialog").close();
  if (event.target.matches?.("dialog")) event.target.close(); // a click beside the box
});
