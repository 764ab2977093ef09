/** Light, dark, or as the system has it: one button goes through the three, and the choice is kept. */
import { byId } from './elements.ts';

const THEMES = ['system', 'light', 'dark'] as const;
const SIGNS = { system: '◐', light: '○', dark: '●' };
const NAME = 'edge-dit-theme';

export function openTheme(): void {
  const button = byId('theme');
  let theme = THEMES.find((name) => name === recall()) ?? 'system';
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = SIGNS[theme];
    button.setAttribute('aria-label', `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    apply();
    remember(theme);
  });
  apply();
}

/** A browser may be set to let pages keep nothing. */
function recall(): string | null {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

function remember(theme: string): void {
  try {
    localStorage.setItem(NAME, theme);
  } catch {
    // It holds until the page is closed.
  }
}
