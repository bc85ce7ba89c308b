//! The distribution of a duration as SVG. Its colors are those of the page.

use std::time::Duration;

use plotters::coord::ranged1d::{IntoSegmentedCoord as _, SegmentValue};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use session_metrics::Durations;

const SIZE: (u32, u32) = (340, 170);
/// Colors that stand for those of the page.
const INK: RGBColor = RGBColor(1, 1, 1);
const BAR: RGBColor = RGBColor(2, 2, 2);
const GRID: RGBColor = RGBColor(3, 3, 3);

/// Draws the quantiles on an axis of time from 0.
pub(super) fn draw(durations: &Durations) -> Result<String, String> {
    let mut svg = String::new();
    draw_on(durations, &mut svg).map_err(|error| error.to_string())?;
    let (width, height) = SIZE;
    Ok(svg
        .replacen(&format!("width=\"{width}\" height=\"{height}\" "), "", 1)
        .replace("fill=\"#020202\"", "class=\"bar\"")
        .replace("stroke=\"#030303\"", "class=\"grid\"")
        .replace("#010101", "currentColor"))
}

fn draw_on(durations: &Durations, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let (unit, length) = unit(durations.p99);
    let figure = |duration: Duration| duration.as_secs_f64() / length;
    // from the bottom
    let rows = [
        ("99 %", figure(durations.p99)),
        ("95 %", figure(durations.p95)),
        ("median", figure(durations.p50)),
    ];
    let end = (figure(durations.p99) * 1.2).max(1.0 / 1_000.0);
    let text = TextStyle::from(("sans-serif", 12).into_font()).color(&INK);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(4)
        .margin_right(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end, (0..2).into_segmented())?;
    let name = |row: &SegmentValue<i32>| match row {
        SegmentValue::CenterOf(row) => usize::try_from(*row)
            .ok()
            .and_then(|row| rows.get(row))
            .map_or_else(String::new, |(name, _)| (*name).to_owned()),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(text.clone())
        .x_labels(5)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&name)
        .x_desc(unit)
        .axis_desc_style(text.clone())
        .draw()?;
    chart.draw_series((0..).zip(&rows).map(|(row, (_, value))| {
        let corners = [
            (0.0, SegmentValue::Exact(row)),
            (*value, SegmentValue::Exact(row + 1)),
        ];
        let mut bar = Rectangle::new(corners, BAR.filled());
        bar.set_margin(6, 6, 0, 0);
        bar
    }))?;
    let text = text.pos(Pos::new(HPos::Left, VPos::Center));
    chart.draw_series((0..).zip(&rows).map(|(row, (_, value))| {
        let beside = (value + end / 80.0, SegmentValue::CenterOf(row));
        Text::new(short(*value), beside, text.clone())
    }))?;
    root.present()?;
    Ok(())
}

/// The unit for a longest duration, and its length in seconds.
fn unit(longest: Duration) -> (&'static str, f64) {
    match longest.as_secs() {
        0..2 => ("milliseconds", 0.001),
        2..120 => ("seconds", 1.0),
        120..7_200 => ("minutes", 60.0),
        _ => ("hours", 3_600.0),
    }
}

/// A number in few digits.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chart_has_units_and_the_colors_of_the_page() {
        let durations = json!({
            "count": 9, "meanMs": 31_000, "p50Ms": 20_000, "p95Ms": 85_000, "p99Ms": 90_000, "sumMs": 279_000,
        });
        let svg = draw(&serde_json::from_value(durations).unwrap()).unwrap();
        for part in [
            "median",
            "95 %",
            "99 %",
            "seconds",
            "class=\"bar\"",
            "currentColor",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(
            !svg.contains("style="),
            "the policy of the page allows none: {svg}"
        );
        assert!(!svg.contains("#0"), "{svg}");
    }
}
