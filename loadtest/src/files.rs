//! The files of a run: `result.json`, `report.html`, and histograms other tools read.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::de::DeserializeOwned;

use crate::outcome::Outcome;
use crate::report;
use crate::run::Found;

/// Lines per halving of the distance to 100 % in a `.hgrm` file.
const TICKS_PER_HALF: u32 = 5;

/// Writes all files of a run into a directory.
///
/// # Errors
/// The directory cannot be written.
pub fn write(found: &Found, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let json = serde_json::to_string_pretty(&found.outcome)?;
    fs::write(directory.join("result.json"), json)?;
    fs::write(directory.join("latency.hgrm"), percentiles(&found.latency))?;
    fs::write(directory.join("latency.hlog"), log(found)?)?;
    let page = report::page(&found.outcome).map_err(io::Error::other)?;
    fs::write(directory.join("report.html"), page)
}

/// Whose a `result.json` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A run's.
    Run,
    /// That of `versus` or `floor`.
    Versus,
}

/// Whose a `result.json` is.
///
/// # Errors
/// It cannot be read, or is none.
pub fn kind(path: &Path) -> Result<Kind, String> {
    let value: serde_json::Value = read_json(path)?;
    match (value.get("scenario"), value.get("cells")) {
        (Some(_), _) => Ok(Kind::Run),
        (_, Some(_)) => Ok(Kind::Versus),
        _ => Err(format!("{} is no result.json of loadtest", path.display())),
    }
}

/// Reads the `result.json` of a run.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read(path: &Path) -> Result<Outcome, String> {
    read_json(path)
}

/// Reads a file of JSON.
///
/// # Errors
/// It cannot be read, or is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The percentile distribution in the text format of HdrHistogram's plotter, in milliseconds.
fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        let (value, quantile) =
            (step.value_iterated_to() as f64 / 1e6, step.quantile_iterated_to());
        text.push_str(&format!("{value:>12.3} {quantile:>14.12} {count:>10}"));
        if quantile < 1.0 {
            text.push_str(&format!(" {:>14.2}", 1.0 / (1.0 - quantile)));
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n",
        histogram.mean() / 1e6,
        histogram.stdev() / 1e6
    ));
    let (max, total) = (histogram.max() as f64 / 1e6, histogram.len());
    text.push_str(&format!("#[Max     = {max:>12.3}, Total count    = {total:>12}]\n"));
    let (buckets, each) = (histogram.buckets(), histogram.distinct_values());
    text.push_str(&format!("#[Buckets = {buckets:>12}, SubBuckets     = {each:>12}]\n"));
    text
}

/// The histogram of each second, in nanoseconds, as HdrHistogram's log viewers read it.
fn log(found: &Found) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let began = UNIX_EPOCH + Duration::from_secs_f64(found.outcome.measured_unix_s);
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("latency in nanoseconds, from when a message was meant to be sent")
        .with_start_time(began)
        .begin_log_with(&mut bytes, &mut serializer)?;
    for (number, histogram) in found.seconds.iter().enumerate() {
        let (start, second) = (Duration::from_secs(number as u64), Duration::from_secs(1));
        writer
            .write_histogram(histogram, start, second, None::<Tag<'_>>)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    drop(writer);
    bytes.flush()?;
    Ok(bytes)
}
