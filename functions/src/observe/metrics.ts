/** Counts and times of one isolate, in the text format of Prometheus 0.0.4: counters, gauges and one histogram. */

/** Seconds; a picture takes from half a second to minutes. */
const BUCKETS = [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300];

type Labels = Readonly<Record<string, string | number>>;

interface Family {
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly values: Map<string, number>;
}

export class Metrics {
  readonly #families = new Map<string, Family>();
  /** Read when somebody asks. */
  readonly #gauges = new Map<string, { readonly help: string; read(): ReadonlyMap<string, number> }>();

  /** Adds to a counter. Labels are of few values: a route, never a path. */
  add(name: string, help: string, labels: Labels = {}, amount = 1): void {
    const { values } = this.#family(name, help, 'counter');
    const key = labelsText(labels);
    values.set(key, (values.get(key) ?? 0) + amount);
  }

  /** The sum of a counter over all labels. */
  total(name: string): number {
    return [...(this.#families.get(name)?.values.values() ?? [])].reduce((a, b) => a + b, 0);
  }

  /** Adds a time in seconds to a histogram. */
  observe(name: string, help: string, labels: Labels, seconds: number): void {
    const { values } = this.#family(name, help, 'histogram');
    const add = (suffix: string, extra: Labels, amount: number) => {
      const key = `${suffix} ${labelsText({ ...labels, ...extra })}`;
      values.set(key, (values.get(key) ?? 0) + amount);
    };
    for (const le of BUCKETS) add('_bucket', { le }, Number(seconds <= le));
    add('_bucket', { le: '+Inf' }, 1);
    add('_sum', {}, seconds);
    add('_count', {}, 1);
  }

  /** `read` gives values by labels, as `labelsText` writes them. */
  gauge(name: string, help: string, read: () => ReadonlyMap<string, number>): void {
    this.#gauges.set(name, { help, read });
  }

  text(): string {
    const lines: string[] = [];
    const head = (name: string, help: string, type: string) =>
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [name, { help, read }] of this.#gauges) {
      head(name, help, 'gauge');
      for (const [labels, value] of read()) lines.push(`${name}${labels} ${value}`);
    }
    for (const [name, { help, type, values }] of this.#families) {
      head(name, help, type);
      for (const [key, value] of values) {
        const [suffix, labels] = type === 'histogram' ? key.split(' ', 2) : ['', key];
        lines.push(`${name}${suffix}${labels} ${value}`);
      }
    }
    return `${lines.join('\n')}\n`;
  }

  #family(name: string, help: string, type: Family['type']): Family {
    const family = this.#families.get(name) ?? { help, type, values: new Map() };
    this.#families.set(name, family);
    return family;
  }
}

/** `{a="b"}`, or nothing without labels. */
export function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}

const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
