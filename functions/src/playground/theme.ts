/** Light, dark, or as the system has it: one button goes through the three, and the choice is kept. */
import { recall, remember } from './browser.ts';
import { byId } from './elements.ts';

const THEMES = ['system', 'light', 'dark'] as const;
const SIGNS = { system: '◐', light: '○', dark: '●' };
const NAME = 'edge-dit-theme';

export function openTheme(): void {
  const button = byId('theme');
  let theme = THEMES.find((name) => name === recall('localStorage', NAME)) ?? 'system';
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = SIGNS[theme];
    button.setAttribute('aria-label', `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    apply();
    remember('localStorage', NAME, theme);
  });
  apply();
}
