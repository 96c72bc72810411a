/* main.tsx - the page's root: login or main page, and which dialog stands above it. */
import { effect } from "@preact/signals";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./app.css";
import { AddDialog } from "./add";
import { serverNow } from "./clock";
import { ConnectionDialog, ConnectionStrip } from "./connections";
import { formatAge } from "./format";
import { Header } from "./header";
import { lang, say, t } from "./i18n";
import { LoginPage } from "./login";
import { failure, loaded, points, tick } from "./source";
import { about, dialog, enter, notice, session, startProblem, trend } from "./state";
import { LiveTable } from "./table";
import { TrendPanel } from "./trend";
import { WriteDialog } from "./write";
import { Icon } from "./widgets";

const NOTICE_MS = 4000;
const STALE_AFTER_MS = 3000; // one missed answer is not worth a banner

function Banner() {
  void tick.value;
  const f = failure.value;
  if (!f || (serverNow() - f.sinceMs < STALE_AFTER_MS && loaded.value)) return null;
  const age = say(formatAge(serverNow() - f.sinceMs));
  return <p class="banner" role="alert"><Icon name="bad" /><span>{t("net.stale", { age })}</span><span class="why">{t("net.queryFailed", { message: f.message })}</span></p>;
}

function Notice() {
  const text = notice.value;
  useEffect(() => {
    const timer = setTimeout(() => { notice.value = ""; }, NOTICE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return text ? <p class="notice" role="status">{text}</p> : null;
}

/* A node without points: say what is needed and lead there. */
function EmptyState() {
  const steps = [["empty.step1", "empty.step1text"], ["empty.step2", "empty.step2text"], ["empty.step3", "empty.step3text"]] as const;
  return (
    <section class="empty"><div class="card">
      <h2>{t("empty.title")}</h2>
      <p class="dim">{t("empty.lead")}</p>
      <ol>{steps.map(([head, text]) => <li><b>{t(head)}</b><span>{t(text)}</span></li>)}</ol>
      <button type="button" class="primary" onClick={() => { dialog.value = { kind: "add" }; }}><Icon name="plus" />{t("empty.action")}</button>
    </div></section>
  );
}

function OpenDialog() {
  const d = dialog.value;
  if (!d) return null;
  if (d.kind === "add") return <AddDialog />;
  return d.kind === "write" ? <WriteDialog key={d.key} pointKey={d.key} /> : <ConnectionDialog name={d.name} />;
}

function MainPage() {
  const empty = loaded.value && points.value.length === 0;
  return (
    <div class="page">
      <Header />
      <Banner />
      <ConnectionStrip />
      <main class={trend.value.length > 0 ? "work split" : "work"}>
        {empty ? <EmptyState /> : <LiveTable />}
        {trend.value.length > 0 && <TrendPanel />}
      </main>
      <OpenDialog />
      <Notice />
    </div>
  );
}

function App() {
  if (session.value === "in") return <MainPage />;
  if (session.value === "out") return <LoginPage />;
  return <p class="nothing" role="status">{startProblem.value || t("loading")}</p>;
}

effect(() => { document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en"; });
effect(() => {
  const name = about.value?.node.name;
  document.title = name ? `${name} · ${t("app.title")}` : t("app.title");
});
render(<App />, document.getElementById("app")!);
void enter();
