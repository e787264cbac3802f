// Loads the page's content anew every two seconds while somebody looks at it, until it says that
// nothing will change any more: then it does not name this script.
"use strict";
const timer = setInterval(async () => {
  if (document.hidden) return;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const now = document.getElementById("main");
    const next = page.getElementById("main");
    if (next && now.innerHTML !== next.innerHTML) {
      const read = [...now.querySelectorAll("pre")].map((log) => log.scrollTop);
      now.innerHTML = next.innerHTML;
      now.querySelectorAll("pre").forEach((log, i) => { log.scrollTop = read[i] || 0; });
    }
    if (!page.querySelector('script[src$="/refresh.js"]')) clearInterval(timer);
  } catch {
    // The server is away; the next try may find it.
  }
}, 2000);
