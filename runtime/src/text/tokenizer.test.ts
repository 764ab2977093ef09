import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { parseSafetensors, toInt32 } from '../safetensors.ts';
import { loadTokenizer, MAX_PROMPT_LENGTH } from './tokenizer.ts';

const emoji = new URL('../../../examples/emoji/', import.meta.url);
const json = JSON.parse(await readFile(new URL('model/tokenizer/tokenizer.json', emoji), 'utf8'));
const tokenizer = loadTokenizer(json);
const BOS = 1;
const EOS = 2;

async function assertPrompts(file: string, ids: string, mask: string, prompts?: string[]): Promise<void> {
  const { tensors, metadata } = parseSafetensors(await readFile(new URL(`fixtures/${file}`, emoji)));
  const expectedIds = toInt32(tensors.get(ids)!);
  const expectedMask = toInt32(tensors.get(mask)!);
  const texts: string[] = prompts ?? JSON.parse(metadata.prompts);
  assert.equal(expectedIds.length, texts.length * tokenizer.maxTokens);
  for (const [row, text] of texts.entries()) {
    const encoded = tokenizer.encode(text);
    const range = [row * tokenizer.maxTokens, (row + 1) * tokenizer.maxTokens] as const;
    assert.deepEqual(encoded.ids, expectedIds.slice(...range), text);
    assert.deepEqual(encoded.mask, expectedMask.slice(...range), text);
  }
}

test('prompts get the ids that the model was trained with', async () => {
  await assertPrompts('emoji-pixart-forward.safetensors', 'in.input_ids', 'in.attention_mask');
  await assertPrompts('emoji-pixart-trajectory.safetensors', 'input_ids', 'attention_mask');
});

test('the empty prompt is the null prompt', async () => {
  await assertPrompts('emoji-pixart-trajectory.safetensors', 'null_input_ids', 'null_attention_mask', ['']);
});

test('a long prompt is cut and keeps the end token', () => {
  const words = Array.from({ length: 60 }, (_, i) => `apple ${i}`).join(' ');
  const { ids, mask } = tokenizer.encode(words);
  assert.equal(ids.length, 24);
  assert.ok(mask.every((value) => value === 1));
  assert.deepEqual([ids[0], ids[23]], [BOS, EOS]);
  assert.deepEqual(ids.subarray(1, 8), tokenizer.encode('apple 0 apple 1 apple 2 apple 3 apple 4').ids.subarray(1, 8));
});

test('special tokens in a prompt are plain text', () => {
  for (const literal of ['<eos>', '<bos>', '<pad>', 'red <eos> apple', '<EOS>', '<eos><eos>', '＜eos＞']) {
    const { ids, mask } = tokenizer.encode(literal);
    const length = mask.reduce((sum, value) => sum + value, 0);
    const body = [...ids.subarray(1, length - 1)];
    assert.ok(body.length >= 3 && body.every((id) => id > EOS), `${literal}: ${ids}`);
    assert.deepEqual([ids[0], ids[length - 1]], [BOS, EOS]);
  }
});

test('any text has ids, and the same ones twice', () => {
  for (const text of [
    '日本語 🍎',
    '\ud800 lone',
    '\u0000',
    'ﷺ'.repeat(200),
    ' ',
    '\n\t',
    'x'.repeat(MAX_PROMPT_LENGTH),
  ]) {
    const { ids } = tokenizer.encode(text);
    assert.ok(ids.every((id) => id >= 0 && id < 4096));
    assert.deepEqual(tokenizer.encode(text).ids, ids);
  }
});

test('a prompt beyond the limit is refused', () => {
  assert.throws(
    () => tokenizer.encode('x'.repeat(MAX_PROMPT_LENGTH + 1)),
    (error) => isEdgeDitError(error, 'invalid-request') && error.message.includes(String(MAX_PROMPT_LENGTH)),
  );
});

test('padding and truncation follow the file', () => {
  const left = loadTokenizer({
    ...json,
    truncation: { ...json.truncation, max_length: 6, direction: 'Left' },
    padding: { ...json.padding, direction: 'Left', pad_id: 7, strategy: 'BatchLongest' },
  });
  const one = left.encode('a');
  assert.deepEqual([...one.mask], [0, 0, 0, 1, 1, 1]);
  assert.deepEqual([...one.ids.subarray(0, 3)], [7, 7, 7]);
  const whole = tokenizer.encode('one two three four five');
  const length = whole.mask.reduce((sum, value) => sum + value, 0);
  assert.ok(length > 6);
  assert.deepEqual(
    [...left.encode('one two three four five').ids.subarray(1)],
    [...whole.ids.subarray(length - 5, length)],
  );
});

test('a file that says too little is refused by field', () => {
  for (const [change, mention] of [
    [{ truncation: null }, 'truncation'],
    [{ padding: null }, 'padding'],
    [{ padding: { ...json.padding, strategy: { Fixed: 25 } } }, '25'],
    [
      { truncation: { ...json.truncation, max_length: 2 }, padding: { ...json.padding, strategy: { Fixed: 2 } } },
      'room',
    ],
    [{ model: { type: 'Nonsense' } }, 'Nonsense'],
    [{ added_tokens: 1 }, 'added_tokens'],
    [{ added_tokens: [], model: { ...json.model, vocab: {} } }, '<bos>'],
  ] as const) {
    assert.throws(
      () => loadTokenizer({ ...json, ...change }),
      (error) => {
        assert.ok(isEdgeDitError(error, 'config-unsupported') && error.message.includes(mention), String(error));
        return true;
      },
    );
  }
});
