// The login page works without this; it only says why one is here again.
const query = new URLSearchParams(location.search);
const error = document.getElementById("error");
if (error !== null && (query.has("wrong") || query.has("wait"))) {
  error.textContent = query.has("wait")
    ? "Too many wrong tokens came from here. Wait a minute, then try again."
    : "This token is wrong.";
  error.hidden = false;
}
export {};
