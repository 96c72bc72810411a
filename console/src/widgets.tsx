/* widgets.tsx - the small parts that several components share: icons, the quality mark, a modal dialog, a form field. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { gradeOf, qualityText } from "./format";
import { say, t, type Message } from "./i18n";

/* One path per icon on a 16 × 16 grid, drawn with the text's colour. */
const ICONS = {
  good: "M3 8.5 6.5 12 13 4.5",
  uncertain: "M8 2.5 14.5 13.5H1.5ZM8 6.5v3.5M8 11.6v.4",
  bad: "M8 1.8a6.2 6.2 0 1 0 0 12.4 6.2 6.2 0 0 0 0-12.4ZM5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8",
  none: "M4 8h8",
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  trend: "M2 2v12h12M4.5 10l3-4 2.5 2.5L14 4",
  pen: "M3 13l.6-2.8 7.4-7.4 2.2 2.2-7.4 7.4Z",
  fold: "M4 6l4 4 4-4",
  auto: "M8 2a6 6 0 1 0 0 12ZM8 2a6 6 0 0 1 0 12",
  light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  dark: "M13 9.8A5.5 5.5 0 0 1 6.2 3 5.5 5.5 0 1 0 13 9.8Z",
  exit: "M6 2H3v12h3M7 8h7M11 5l3 3-3 3",
  link: "M5 3v3M11 3v3M3.5 6h9v2a4.5 4.5 0 0 1-9 0ZM8 12.5V15",
  pause: "M5.5 3v10M10.5 3v10",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9ZM10.5 10.5 14 14",
} as const;
export type IconName = keyof typeof ICONS;

export const Icon = ({ name, solid }: { name: IconName; solid?: boolean }) => (
  <svg class={solid ? "icon solid" : "icon"} viewBox="0 0 16 16" aria-hidden="true"><path d={ICONS[name]} /></svg>
);

export const sayOr = (m: string | Message): string => (typeof m === "string" ? m : say(m));

/* Icon, words and colour together: none of them alone carries the meaning. */
export function Quality({ quality }: { quality: string | null }) {
  const grade = gradeOf(quality);
  return <span class={`quality ${grade}`} title={quality ?? undefined}><Icon name={grade} /><span>{sayOr(qualityText(quality))}</span></span>;
}

/* The browser's own modal: it keeps the focus inside, closes on Escape and returns the focus afterwards. */
export function Modal(props: { title: string; onClose: () => void; wide?: boolean; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const d = ref.current!;
    if (!d.open) d.showModal();
    return () => d.close();
  }, []);
  return (
    <dialog ref={ref} class={props.wide ? "modal wide" : "modal"} aria-label={props.title}
      onCancel={(e) => { e.preventDefault(); props.onClose(); }}>
      <header><h2>{props.title}</h2>
        <button type="button" class="quiet square" aria-label={t("close")} title={t("close")} onClick={props.onClose}><Icon name="close" /></button>
      </header>
      {props.children}
    </dialog>
  );
}

/* Label, control, and either what is wrong with it or a hint. */
export function Field(props: { label: string; error?: string; hint?: string; grow?: boolean; children: ComponentChildren }) {
  return (
    <label class={`field${props.error ? " wrong" : ""}${props.grow ? " grow" : ""}`}>
      <span class="label">{props.label}</span>
      {props.children}
      {props.error ? <span class="error" role="alert">{props.error}</span> : props.hint ? <span class="hint">{props.hint}</span> : null}
    </label>
  );
}
