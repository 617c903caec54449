/**
 * Texts in the reader's language. English that is in the HTML is not repeated in a table of texts; % is a placeholder.
 */

const LANGUAGES = ["zh-Hans", "zh-Hant", "en"];

function supported(tag) {
  if (/^zh-(hant|tw|hk|mo)\b/i.test(tag)) return "zh-Hant";
  if (/^zh\b/i.test(tag)) return "zh-Hans";
  if (/^en\b/i.test(tag)) return "en";
}

const language = navigator.languages.map(supported).find(Boolean) ?? "en";
const column = LANGUAGES.indexOf(language);

/** Whether the page is on the reader's own machine: only there can the reader run commands in the clone. */
export const isLocal = /^(localhost|127\.[\d.]+|\[::1\])$|\.localhost$/.test(location.hostname);

/** Return a function that returns the text of a key, with values for its placeholders. */
export function textsOf(texts) {
  return (key, ...values) => texts[key][column].replace(/%/g, () => values.shift());
}

/** Translate the elements with `data-text`, and the labels and hints of those with `data-label`, `data-placeholder`. */
export function translate(texts) {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text][column] ?? element.textContent;
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.ariaLabel = texts[element.dataset.label][column] ?? element.ariaLabel;
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = texts[element.dataset.placeholder][column] ?? element.placeholder;
  }
  for (const element of document.querySelectorAll("[data-local]")) {
    if (!isLocal) element.remove();
  }
}
