"use strict";
window.addEventListener("load", () => {
  const place = document.getElementById("swagger");
  window.ui = SwaggerUIBundle({
    url: place.dataset.openapi,
    domNode: place,
    deepLinking: true,
    persistAuthorization: false,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    docExpansion: "list",
    syntaxHighlight: { activated: true },
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
});
