/** What browsers give to some pages only: not without TLS, as on an address of one's own network, or not where they keep nothing. */
import { make } from './elements.ts';

/** Rejects where the browser does not let this page copy. */
export async function copyText(text: string): Promise<void> {
  // Absent without TLS, whatever its type says.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (clipboard) return clipboard.writeText(text);
  const focused = document.activeElement as HTMLElement | null;
  const area = make('textarea', { value: text, readOnly: true });
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  focused?.focus();
  if (!copied) throw new Error('refused');
}

/** Of what this tab or this browser remembers; nothing where it may not. */
export function recall(storage: 'localStorage' | 'sessionStorage', name: string): string | null {
  try {
    return globalThis[storage].getItem(name);
  } catch {
    return null;
  }
}

export function remember(storage: 'localStorage' | 'sessionStorage', name: string, value: string): void {
  try {
    globalThis[storage].setItem(name, value);
  } catch {
    // It holds until the page is closed.
  }
}

/** As unlikely to be there twice as a UUID, which pages without TLS cannot draw. */
export const drawId = () => crypto.getRandomValues(new Uint32Array(4)).join('-');
