//! The parts of the page, from the document that programs read. Everything is escaped here.

use std::{collections::HashMap, fmt::Write as _};

use super::{
    chart::{self, Series},
    refusals,
};
use crate::{
    answer::escape,
    refusal::Reason,
    status::{
        Status,
        history::Bin,
        keys::{ago, length},
        parts::{Health, Part},
        routes::{RouteNow, SHOWN},
        share,
    },
    telemetry::{metrics::Tally, record::Verdict},
    time::Timestamp,
};

/// What the template asks for, by name.
pub(super) fn of(status: &Status) -> HashMap<&'static str, String> {
    let decisions = by_decision();
    let reasons = by_reason(&status.decisions.sum);
    let bins = &status.decisions.history;
    HashMap::from([
        ("title", title(status)),
        ("where", place(status)),
        ("ready", ready(status)),
        ("updated", format!("as of {}", time(status.time))),
        ("figures", figures(status)),
        ("parts", status.parts.iter().map(part).collect()),
        ("decision_chart", chart::bars(bins, &decisions, &summary(status))),
        ("decision_legend", chart::legend(bins, &decisions, "Decision")),
        ("reason_chart", chart::bars(bins, &reasons, &reason_summary(&status.decisions.sum))),
        ("reason_legend", reason_legend(bins, &reasons)),
        ("minutes", minutes(bins)),
        ("refusals_note", refusals::note(status)),
        ("refusals", refusals::table(status)),
        ("routes_note", routes_note(status)),
        ("routes", routes(status)),
        ("keys", keys(status)),
        ("tokens", tokens(status)),
        ("configuration_note", configuration(status)),
        ("taken", status.configuration.taken.0.to_string()),
    ])
}

fn title(status: &Status) -> String {
    let word = if status.gateway.ready { "ready" } else { "not ready" };
    format!("{word} · Portcullis")
}

fn place(status: &Status) -> String {
    let (url, version) = (escape(&status.gateway.public_url), status.gateway.version);
    format!("{url} · version {version}")
}

fn ready(status: &Status) -> String {
    if status.gateway.ready {
        return badge(Health::Up, "ready");
    }
    let why = status.gateway.missing.join("; ");
    format!("{} <span class=\"why\">{}</span>", badge(Health::Down, "not ready"), escape(&why))
}

/// A sign, a colour and a word, so that none is needed to know the other.
fn badge(health: Health, word: &str) -> String {
    let sign = match health {
        Health::Up => "✓",
        Health::Degraded => "!",
        Health::Down => "✗",
        Health::Unknown => "?",
    };
    let class = health.word();
    format!(
        "<span class=\"badge {class}\"><span class=\"sign\" aria-hidden=\"true\">{sign}</span>\
         {word}</span>"
    )
}

fn figures(status: &Status) -> String {
    let bins = &status.decisions.history;
    let minute: u64 = bins.iter().rev().take(6).map(|bin| bin.counts.total()).sum();
    let all = status.decisions.sum.total();
    let refused: u64 = status.decisions.sum.refusals.iter().sum();
    let mut figures = String::new();
    let mut figure = |name: &str, value: &str, more: &str, class: &str| {
        let _ = write!(
            figures,
            "<div class=\"figure {class}\"><dt>{name}</dt><dd><strong>{value}</strong> \
             <span>{}</span></dd></div>",
            escape(more)
        );
    };
    figure("Requests", &minute.to_string(), "in the last minute", "");
    let part = if all == 0 { "–".to_owned() } else { percent(share(refused, all)) };
    figure("Refused", &part, &format!("{refused} of {all} in 15 min"), "");
    let under_way = status.gateway.requests_in_flight.to_string();
    figure("Under way", &under_way, &format!("on {} connections", status.gateway.connections), "");
    if let Some(cache) = &status.token_cache {
        let hits = cache.hit_share.map_or_else(|| "–".to_owned(), percent);
        figure("Cache hits", &hits, &format!("{} tokens kept", cache.entries), "");
    }
    let up = status.time.since(status.gateway.started);
    figure("Uptime", &length(up), &format!("since {}", day_and_time(status.gateway.started)), "");
    let read = ago(status.time.since(status.configuration.taken));
    if status.configuration.last_reload_successful {
        let reloads = status.configuration.reloads_taken;
        figure("Configuration", "current", &format!("read {read}, {reloads} reloads"), "");
    } else {
        figure("Configuration", "refused", &format!("the one of {read} is at work"), "bad");
    }
    figures
}

fn part(part: &Part) -> String {
    let mut card = format!(
        "<li class=\"part {class}\"><h3>{name}</h3>{badge}<p>{detail}</p>",
        class = part.health.word(),
        name = escape(&part.name),
        badge = badge(part.health, part.health.word()),
        detail = escape(&part.detail),
    );
    if !part.servers.is_empty() {
        card.push_str("<ul class=\"servers\">");
        for server in &part.servers {
            let (address, health) = (escape(&server.address), server.health);
            let _ =
                write!(card, "<li>{} <code>{address}</code></li>", badge(health, health.word()));
        }
        card.push_str("</ul>");
    }
    card.push_str("</li>");
    card
}

fn by_decision() -> Vec<Series<'static>> {
    let label = |verdict: Verdict| match verdict {
        Verdict::Forward => ("forwarded", "s-forward"),
        Verdict::Login => ("sent to the login", "s-login"),
        Verdict::Refuse => ("refused", "s-refuse"),
        Verdict::Own => ("answered here", "s-own"),
    };
    let series = |(at, verdict)| {
        let (label, class) = label(verdict);
        let value = move |counts: &Tally| counts.decisions.get(at).copied().unwrap_or_default();
        Series { label, class, value: Box::new(value) }
    };
    Tally::VERDICTS.into_iter().enumerate().map(series).collect()
}

/// Reasons with a colour of their own; the others share one.
const COLOURS: [&str; 6] = ["s-0", "s-1", "s-2", "s-3", "s-4", "s-5"];

fn by_reason(sum: &Tally) -> Vec<Series<'static>> {
    let occurred = sum.reasons();
    let place = |reason: Reason| Reason::ALL.iter().position(|one| *one == reason);
    let told: Vec<_> = occurred.iter().take(COLOURS.len()).map(|(reason, _)| *reason).collect();
    let mut series: Vec<Series<'static>> = Vec::new();
    for (reason, class) in told.iter().zip(COLOURS) {
        let at = place(*reason).unwrap_or(usize::MAX);
        let value = move |counts: &Tally| counts.refusals.get(at).copied().unwrap_or_default();
        series.push(Series { label: reason.word(), class, value: Box::new(value) });
    }
    if occurred.len() > told.len() {
        let own: Vec<_> = told.into_iter().filter_map(place).collect();
        let value = move |counts: &Tally| {
            let others = counts.refusals.iter().enumerate().filter(|(at, _)| !own.contains(at));
            others.map(|(_, count)| count).sum()
        };
        series.push(Series { label: "other reasons", class: "s-own", value: Box::new(value) });
    }
    series
}

fn reason_legend(bins: &[Bin], series: &[Series<'_>]) -> String {
    if series.is_empty() {
        return "<p class=\"empty\">Nothing was refused in the last 15 minutes.</p>".to_owned();
    }
    chart::legend(bins, series, "Reason")
}

fn summary(status: &Status) -> String {
    let sum = &status.decisions.sum;
    let words = Tally::VERDICTS.iter().zip(sum.decisions);
    let words: Vec<_> =
        words.map(|(verdict, count)| format!("{} {count}", verdict.word())).collect();
    format!("Requests of the last 15 minutes in bars of 10 seconds: {}", words.join(", "))
}

fn reason_summary(sum: &Tally) -> String {
    let reasons = sum.reasons();
    if reasons.is_empty() {
        return "No refusals in the last 15 minutes".to_owned();
    }
    let words: Vec<_> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    format!("Refusals of the last 15 minutes in bars of 10 seconds: {}", words.join(", "))
}

/// Bins of a minute together, the newest first.
fn minutes(bins: &[Bin]) -> String {
    let mut table = head(
        "Decisions, minute by minute",
        &[
            ("From", ""),
            ("Forwarded", "n"),
            ("Login", "n"),
            ("Refused", "n"),
            ("Own", "n"),
            ("Reasons", ""),
        ],
    );
    for minute in bins.rchunks(6) {
        let mut sum = Tally::default();
        for bin in minute {
            sum.add(&bin.counts);
        }
        let began = minute.first().map_or(Timestamp(0), |bin| bin.began);
        let _ = write!(table, "<tr><th scope=\"row\">{}</th>", time(began));
        for count in sum.decisions {
            let _ = write!(table, "<td class=\"n\">{count}</td>");
        }
        let words: Vec<_> = sum.reasons().iter().map(|(why, it)| format!("{why} {it}")).collect();
        let _ = write!(table, "<td>{}</td></tr>", words.join(", "));
    }
    table + "</tbody>"
}

/// The caption, which is for whoever does not see the heading above, and the columns.
pub(super) fn head(caption: &str, columns: &[(&str, &str)]) -> String {
    let mut head = format!("<caption class=\"unseen\">{caption}</caption><thead><tr>");
    for (name, class) in columns {
        let _ = write!(head, "<th scope=\"col\" class=\"{class}\">{name}</th>");
    }
    head + "</tr></thead><tbody>"
}

/// A cell that says by itself what it is, for narrow screens.
pub(super) fn cell(label: &str, class: &str, content: &str) -> String {
    format!("<td class=\"{class}\" data-label=\"{label}\">{content}</td>")
}

fn routes_note(status: &Status) -> String {
    let routes = &status.routes;
    let mut note = format!("{} patterns", routes.all);
    if routes.all > SHOWN {
        let _ = write!(note, ", of which the busiest {SHOWN} are shown");
    }
    let others = routes.without.total;
    if routes.counted {
        let _ = write!(note, "; counts since the start. {others} requests were for no route.");
    } else {
        let _ = write!(note, "; {others} requests since the start, not told apart by route.");
    }
    note
}

fn routes(status: &Status) -> String {
    let mut table = head(
        "Routes",
        &[
            ("Path", ""),
            ("Methods", ""),
            ("Upstream", ""),
            ("Demands", ""),
            ("Requests", "n"),
            ("By status", ""),
            ("Mean time", "n"),
        ],
    );
    for route in &status.routes.shown {
        table.push_str(&self::route(route));
    }
    table + "</tbody>"
}

fn route(route: &RouteNow) -> String {
    let methods = if route.methods.is_empty() { "every".into() } else { route.methods.join(" ") };
    let mut demands = escape(&route.demands);
    if route.on_trial {
        demands.push_str(" <span class=\"tag\">on trial</span>");
    }
    let requests = &route.requests;
    let statuses = requests.by_status.iter();
    let statuses: Vec<_> = statuses.map(|(class, count)| format!("{class}&nbsp;{count}")).collect();
    let mean = requests.mean_ms.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.1} ms"));
    let statuses = if statuses.is_empty() { "–".to_owned() } else { statuses.join(" · ") };
    let cells = [
        cell("Methods", "", &methods),
        cell("Upstream", "", &escape(&route.upstream)),
        cell("Demands", "demands", &demands),
        cell("Requests", "n", &requests.total.to_string()),
        cell("By status", "", &statuses),
        cell("Mean time", "n", &mean),
    ];
    let path = escape(&route.path);
    format!(
        "<tr><th scope=\"row\" data-label=\"Path\"><code>{path}</code></th>{}</tr>",
        cells.concat()
    )
}

fn keys(status: &Status) -> String {
    let mut table = head("Keys", &[("Key", ""), ("For", ""), ("State", ""), ("Age", "n")]);
    for key in &status.keys {
        let age = key.age_seconds.map(std::time::Duration::from_secs).map(length);
        let cells = [
            cell("For", "", key.purpose),
            cell("State", "", &escape(&key.state)),
            cell("Age", "n", age.as_deref().unwrap_or("–")),
        ];
        let id = escape(&key.id);
        let _ = write!(
            table,
            "<tr><th scope=\"row\" class=\"id\" data-label=\"Key\"><code>{id}</code></th>{}</tr>",
            cells.concat()
        );
    }
    table + "</tbody>"
}

fn tokens(status: &Status) -> String {
    let Some(cache) = &status.token_cache else {
        return "<p class=\"empty\">No token service is configured.</p>".to_owned();
    };
    let source = if cache.source == "issuer" { "minted here" } else { "by exchange" };
    let hits = cache.hit_share.map_or_else(|| "–".to_owned(), percent);
    let mut list = format!(
        "<dl class=\"pairs\"><dt>Tokens</dt><dd>{source}</dd><dt>Kept</dt><dd>{} of at most {}</dd>\
         <dt>Hit share</dt><dd>{hits}</dd>",
        cache.entries, cache.capacity,
    );
    for (outcome, count) in &cache.outcomes {
        let _ = write!(list, "<dt>{}</dt><dd>{count}</dd>", outcome.replace('_', " "));
    }
    list + "</dl>"
}

fn configuration(status: &Status) -> String {
    let now = &status.configuration;
    let files: Vec<_> =
        now.files.iter().map(|file| format!("<li><code>{}</code></li>", escape(file))).collect();
    let mut note = format!(
        "<p class=\"note\">Taken {}; {} reloads taken, {} refused.</p>",
        day_and_time(now.taken),
        now.reloads_taken,
        now.reloads_refused,
    );
    if !now.last_reload_successful {
        note.push_str(
            "<p class=\"fault\">The files as they are now are of no use: see the log.</p>",
        );
    }
    if !now.enforce {
        note.push_str("<p class=\"fault\">enforce is false: refusals are only recorded.</p>");
    }
    if now.warnings > 0 {
        let _ = write!(
            note,
            "<p class=\"note\">{} warnings; portcullis check tells them.</p>",
            now.warnings
        );
    }
    let _ = write!(note, "<ul class=\"files\">{}</ul>", files.concat());
    note
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn time(at: Timestamp) -> String {
    format!("<time datetime=\"{}\">{}</time>", iso(at), chart::clock(at.0))
}

fn day_and_time(at: Timestamp) -> String {
    iso(at).replace('T', " ").replace('Z', "")
}

fn iso(at: Timestamp) -> String {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}
