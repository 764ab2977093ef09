/** Says in English what a schema refused: zod's small build has no messages of its own. For `safeParse(value, zodMessages)`. */
import { en } from 'zod/v4/locales';

export const zodMessages = { error: en().localeError };
