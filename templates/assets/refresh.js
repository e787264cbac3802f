// Loads the page's content anew every two seconds while somebody looks at it.
"use strict";
setInterval(async () => {
  if (document.hidden) return;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const now = document.getElementById("main");
    const next = page.getElementById("main");
    if (next && now.innerHTML !== next.innerHTML) now.innerHTML = next.innerHTML;
  } catch {
    // The server is away; the next try may find it.
  }
}, 2000);
