// The reader's language: what was chosen here, or else what the browser prefers. English is in the code; the rest in a file each.

const KNOWN = ["en", "ru", "zh", "tr"];
const CHOSEN = "millrace-language";

function pick() {
  const wishes = [localStorage.getItem(CHOSEN), ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return wishes.find((tag) => KNOWN.includes(tag)) || "en";
}

export const language = pick();
export const texts = language === "en" ? {} : (await import(`./texts.${language}.js`)).default;

/// Keeps the choice and loads the page in it.
export function choose(tag) {
  localStorage.setItem(CHOSEN, tag);
  location.reload();
}
