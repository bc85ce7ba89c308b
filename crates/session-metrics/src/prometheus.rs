//! The figures as a Prometheus scrape (text exposition format 0.0.4).

use std::fmt::{self, Write};

use crate::{Durations, EndReason, Snapshot};

/// Appends the figures to `page`. Labels are stages and reasons only, so a scrape has a fixed number of lines; a
/// figure without data has no sample.
pub fn render_prometheus(snapshot: &Snapshot, page: &mut String) {
    // a String takes any text, so there is no error to pass on
    let _infallible = render(snapshot, page);
}

fn render(snapshot: &Snapshot, page: &mut String) -> fmt::Result {
    family(page, "created_total", "counter", "Guest sessions created.")?;
    writeln!(page, "guest_sessions_created_total {}", snapshot.sessions)?;

    family(
        page,
        "reached_total",
        "counter",
        "Guest sessions that came at least to a stage of the funnel.",
    )?;
    for figures in &snapshot.stages {
        writeln!(
            page,
            "guest_sessions_reached_total{{stage=\"{}\"}} {}",
            figures.stage, figures.reached
        )?;
    }

    family(
        page,
        "open",
        "gauge",
        "Guest sessions that are open, by the stage they have come to.",
    )?;
    for figures in &snapshot.stages {
        writeln!(
            page,
            "guest_sessions_open{{stage=\"{}\"}} {}",
            figures.stage, figures.open
        )?;
    }

    family(
        page,
        "ended_total",
        "counter",
        "Guest sessions that ended, by the stage they had come to and the reason.",
    )?;
    for figures in &snapshot.stages {
        for reason in EndReason::ALL {
            writeln!(
                page,
                "guest_sessions_ended_total{{stage=\"{}\",reason=\"{reason}\"}} {}",
                figures.stage,
                figures.ended_by.get(reason)
            )?;
        }
    }

    family(
        page,
        "drop_off_ratio",
        "gauge",
        "Share of ended guest sessions without a guest message.",
    )?;
    if let Some(ratio) = snapshot.drop_off {
        writeln!(page, "guest_sessions_drop_off_ratio {ratio}")?;
    }

    summary(
        page,
        "duration_seconds",
        "How long ended guest sessions lasted.",
        snapshot.durations,
    )?;
    summary(
        page,
        "time_to_first_reply_seconds",
        "From the guest's first message to the first reply.",
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
            writeln!(
                page,
                "guest_sessions_{name}{{quantile=\"{quantile}\"}} {}",
                value.as_secs_f64()
            )?;
        }
    }
    let (sum, count) = durations.map_or((0.0, 0), |durations| {
        (durations.sum.as_secs_f64(), durations.count)
    });
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
    use crate::{Metrics, Past, SessionStage};

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
        let sessions = EndReason::ALL.iter().cycle().take(1_000).map(|reason| Past {
            stage: SessionStage::FirstReply,
            waited: Some(Duration::from_secs(4)),
            end: Some((*reason, Duration::from_secs(90))),
        });
        render_prometheus(&Metrics::restore(sessions).snapshot(), &mut page);
        assert_eq!(
            page.lines().count(),
            empty.lines().count() + 7,
            "one ratio, six quantiles"
        );
        assert!(page.contains("guest_sessions_ended_total{stage=\"first_reply\",reason=\"agent\"} 167\n"));
        assert!(page.contains("guest_sessions_drop_off_ratio 0\n"));
        assert!(page.contains("guest_sessions_duration_seconds_sum 90000\n"));
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
