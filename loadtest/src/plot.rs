//! Plots, as SVG text that a page can hold.
//!
//! Owns: how plots look. They are small enough for a phone and black on white for paper. Must not know
//! what is plotted.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

/// Width and height: what fits a phone without shrinking its letters away.
const SIZE: (u32, u32) = (520, 300);
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x1f, 0x6f, 0xb4),
    RGBColor(0xd9, 0x5f, 0x0e),
    RGBColor(0x2c, 0x8c, 0x4a),
    RGBColor(0x7b, 0x4f, 0xa3),
    RGBColor(0x8c, 0x6d, 0x1f),
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0xc2, 0x3b, 0x80),
    RGBColor(0xa9, 0xa9, 0xa9),
    RGBColor(0x11, 0x11, 0x11),
];

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// A line with a name.
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
        Line { name: name.to_owned(), points: points.into_iter().collect() }
    }
}

/// The colour of a line, as CSS has it.
pub fn colour(line: usize) -> String {
    let RGBColor(red, green, blue) = COLOURS[line % COLOURS.len()];
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// What a plot is about.
#[derive(Clone, Copy, Debug)]
pub struct Axes<'a> {
    /// Below.
    pub x: &'a str,
    /// On the left, with its unit.
    pub y: &'a str,
    /// Whether the vertical axis is logarithmic.
    pub is_log: bool,
    /// How places on the horizontal axis are called.
    pub x_label: fn(f64) -> String,
}

/// Lines, as SVG; `None` when there is nothing to draw.
///
/// # Errors
/// The plot could not be drawn.
pub fn lines(axes: Axes<'_>, lines: &[Line]) -> Result<Option<String>, String> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let points_drawn = || points().filter(|(_, y)| !axes.is_log || *y > 0.0);
    let (Some(x), Some(y)) =
        (range(points_drawn().map(|p| p.0)), range(points_drawn().map(|p| p.1)))
    else {
        return Ok(None);
    };
    let x = x.start..x.end.max(x.start + 1e-9);
    let mut svg = String::new();
    let drawn = if axes.is_log {
        let low = 10f64.powf(y.start.log10().floor());
        let high = 10f64.powf((y.end * 1.01).log10().ceil());
        draw_lines(&mut svg, axes, lines, x, (low..high.max(low * 10.0)).log_scale())
    } else {
        draw_lines(&mut svg, axes, lines, x, 0.0..(y.end * 1.1).max(1e-9))
    };
    drawn.map_err(|error| error.to_string())?;
    Ok(Some(svg))
}

fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    values.fold(None, |range: Option<Range<f64>>, value| match range {
        Some(range) => Some(range.start.min(value)..range.end.max(value)),
        None => Some(value..value),
    })
}

fn draw_lines<Y>(
    svg: &mut String,
    axes: Axes<'_>,
    lines: &[Line],
    x: Range<f64>,
    y: Y,
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(28)
        .x_label_area_size(38)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|x| (axes.x_label)(*x))
        .y_label_formatter(&|y| short(*y))
        .label_style(("sans-serif", 15))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points = line.points.iter().copied().filter(|(_, y)| !axes.is_log || *y > 0.0);
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    area.present()?;
    Ok(())
}

/// Bars in groups on a logarithmic axis, as SVG: for each group a name and a value per bar, if known. Whose
/// bar has which colour is said beside it, see [`colour`].
///
/// # Errors
/// The plot could not be drawn.
pub fn bars(
    y: &str,
    names: &[String],
    groups: &[(String, Vec<Option<f64>>)],
) -> Result<String, String> {
    let mut svg = String::new();
    draw_bars(&mut svg, y, names, groups).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw_bars(
    svg: &mut String,
    y: &str,
    names: &[String],
    groups: &[(String, Vec<Option<f64>>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let values = || groups.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let Some(reach) = range(values().filter(|value| *value > 0.0)) else { return Ok(()) };
    let low = 10f64.powf(reach.start.log10().floor());
    let high = 10f64.powf((reach.end * 1.01).log10().ceil());
    let width = (80 + 105 * groups.len() as u32).max(SIZE.0);
    let height = 360;
    let area = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..groups.len() as f64, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .y_desc(y)
        .x_labels(0)
        .y_label_formatter(&|y| short(*y))
        .label_style(("sans-serif", 13))
        .draw()?;
    let wide = 0.84 / names.len().max(1) as f64;
    for (bar, colour) in COLOURS.iter().cycle().take(names.len()).enumerate() {
        let style = colour.filled();
        let rectangles = groups.iter().enumerate().filter_map(|(group, (_, values))| {
            let left = group as f64 + 0.08 + wide * bar as f64;
            let value = values.get(bar).copied().flatten().filter(|value| *value > 0.0)?;
            Some(Rectangle::new([(left, low), (left + wide * 0.92, value)], style))
        });
        chart.draw_series(rectangles)?;
    }
    for (group, (name, _)) in groups.iter().enumerate() {
        let place = chart.backend_coord(&(group as f64 + 0.08, low));
        area.draw(&Text::new(name.clone(), (place.0, place.1 + 8), ("sans-serif", 13)))?;
    }
    area.present()?;
    Ok(())
}

/// A number that fits an axis: 1.5k, 2M.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() < 0.1 && scaled != 0.0 { 3 } else { 1 };
    let text = format!("{scaled:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes<'_> =
        Axes { x: "seconds", y: "ms", is_log: true, x_label: |x| format!("{x}") };

    #[test]
    fn lines_are_drawn_and_nothing_is_nothing() {
        let svg = lines(AXES, &[Line::new("a", [(0.0, 1.0), (1.0, 20.0)])]).unwrap().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"));
        assert_eq!(lines(AXES, &[]), Ok(None));
        assert_eq!(lines(AXES, &[Line::new("zero", [(0.0, 0.0)])]), Ok(None));
    }

    #[test]
    fn bars_are_drawn() {
        let names = ["one".to_owned(), "two".to_owned()];
        let groups = [("work".to_owned(), vec![Some(10.0), None])];
        assert!(bars("a second", &names, &groups).unwrap().contains("work"));
    }

    #[test]
    fn axis_numbers_are_short() {
        assert_eq!([0.0, 0.01, 1.5, 1000.0, 2.5e6].map(short), ["0", "0.01", "1.5", "1k", "2.5M"]);
    }
}
