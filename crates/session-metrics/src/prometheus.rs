//! The figures as a Prometheus scrape (text exposition format 0.0.4).

use std::fmt::{self, Write};

use crate::{Durations, EndReason, Snapshot, StageMetrics};

/// Appends the figures to `page`. Labels are stages and reasons only, so a scrape has a fixed number of lines. A figure
/// without data has no sample.
pub fn render_prometheus(snapshot: &Snapshot, page: &mut String) {
    // writing to a `String` does not fail
    let _ = render(snapshot, page);
}

fn render(snapshot: &Snapshot, page: &mut String) -> fmt::Result {
    family(page, "created_total", "counter", "Guest sessions created.")?;
    writeln!(page, "guest_sessions_created_total {}", snapshot.sessions)?;

    let help = "Guest sessions that reached a stage of the funnel.";
    family(page, "reached_total", "counter", help)?;
    for StageMetrics { stage, reached, .. } in &snapshot.stages {
        writeln!(
            page,
            "guest_sessions_reached_total{{stage=\"{stage}\"}} {reached}"
        )?;
    }

    let help = "Open guest sessions, by stage.";
    family(page, "open", "gauge", help)?;
    for StageMetrics { stage, open, .. } in &snapshot.stages {
        writeln!(page, "guest_sessions_open{{stage=\"{stage}\"}} {open}")?;
    }

    let help = "Ended guest sessions, by stage and reason.";
    family(page, "ended_total", "counter", help)?;
    for StageMetrics { stage, ended_by, .. } in &snapshot.stages {
        for reason in EndReason::ALL {
            let labels = format_args!("stage=\"{stage}\",reason=\"{reason}\"");
            writeln!(
                page,
                "guest_sessions_ended_total{{{labels}}} {}",
                ended_by.get(reason)
            )?;
        }
    }

    let help = "Share of ended guest sessions without a guest message.";
    family(page, "drop_off_ratio", "gauge", help)?;
    if let Some(ratio) = snapshot.drop_off {
        writeln!(page, "guest_sessions_drop_off_ratio {ratio}")?;
    }

    let help = "Duration of ended guest sessions.";
    summary(page, "duration_seconds", help, snapshot.durations)?;
    let help = "Time from the guest's first message to the first reply.";
    summary(
        page,
        "time_to_first_reply_seconds",
        help,
        snapshot.time_to_first_reply,
    )
}

fn summary(page: &mut String, name: &str, help: &str, durations: Option<Durations>) -> fmt::Result {
    family(page, name, "summary", help)?;
    if let Some(durations) = durations {
        for (quantile, value) in [
            ("0.5", durations.p50),
            ("0.95", durations.p95),
            ("0.99", durations.p99),
        ] {
            let seconds = value.as_secs_f64();
            writeln!(page, "guest_sessions_{name}{{quantile=\"{quantile}\"}} {seconds}")?;
        }
    }
    let (sum, count) = durations.map_or((0.0, 0), |all| (all.sum.as_secs_f64(), all.count));
    writeln!(page, "guest_sessions_{name}_sum {sum}")?;
    writeln!(page, "guest_sessions_{name}_count {count}")
}

fn family(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP guest_sessions_{name} {help}")?;
    writeln!(page, "# TYPE guest_sessions_{name} {kind}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Journey, Metrics, SessionStage};

    #[test]
    fn scrape_has_fixed_lines_and_no_sample_without_data() {
        let mut empty = String::new();
        render_prometheus(&Metrics::new().snapshot(), &mut empty);
        assert!(
            !empty.contains("ratio 0") && !empty.contains("quantile"),
            "{empty}"
        );
        assert!(empty.contains("guest_sessions_duration_seconds_count 0\n"));

        let mut page = String::new();
        let (start, lifetime) = (time::OffsetDateTime::UNIX_EPOCH, Duration::from_secs(90));
        let sessions = EndReason::ALL
            .iter()
            .cycle()
            .take(100 * EndReason::ALL.len())
            .map(|reason| {
                let (mut journey, _) = Journey::begin();
                let _ = journey.reach(SessionStage::FirstGuestMessage, start);
                let _ = journey.reach(SessionStage::FirstReply, start + Duration::from_secs(4));
                let _ = journey.end(*reason, lifetime);
                journey
            });
        let totals: Vec<_> = sessions
            .flat_map(|journey| journey.events(lifetime).collect::<Vec<_>>())
            .flat_map(|event| event.totals())
            .collect();
        let totals = totals.iter().map(|(name, total)| (name.as_str(), *total));
        render_prometheus(&Metrics::restore(totals).snapshot(), &mut page);
        assert_eq!(
            page.lines().count(),
            empty.lines().count() + 7,
            "one ratio, six quantiles"
        );
        assert!(page.contains("guest_sessions_ended_total{stage=\"first_reply\",reason=\"agent\"} 100\n"));
        assert!(page.contains("guest_sessions_drop_off_ratio 0\n"));
        let sum = 100 * EndReason::ALL.len() * 90;
        assert!(page.contains(&format!("guest_sessions_duration_seconds_sum {sum}\n")));
    }

    #[test]
    fn scrape_line_belongs_to_family_above() {
        let mut page = String::new();
        render_prometheus(&Metrics::new().snapshot(), &mut page);
        let mut family = "";
        for line in page.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ") {
                family = name.split(' ').next().unwrap();
            } else if !line.starts_with("# HELP ") {
                assert!(line.starts_with(family), "{line} in {family}");
                let (_, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
