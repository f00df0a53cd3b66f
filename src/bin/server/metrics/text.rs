//! The numbers as Prometheus reads them (its text format, version 0.0.4): ropewalk-server(1),
//! METRICS, has the same names.

#![forbid(unsafe_code)]

use super::counters::{Counters, Numbers, Outcome};
use std::fmt::Display;

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The text that is put together.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a family: what its samples count, in words without line ends or backslashes.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample. `labels` are whole, without their braces; no value in them has a quote,
    /// a backslash or a line end.
    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.0.push_str(&format!("{name} {value}\n")),
            _ => self.0.push_str(&format!("{name}{{{labels}}} {value}\n")),
        }
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    fn outcomes(&mut self, name: &str, help: &str, numbers: &Numbers) {
        self.family(name, "counter", help);
        for (outcome, count) in Outcome::ALL.into_iter().zip(numbers.ended) {
            self.sample(name, &format!("outcome=\"{}\"", outcome.name()), count);
        }
    }
}

/// All numbers.
pub(super) fn format(counters: &Counters) -> String {
    let totals = counters.totals();
    let (transfers, downloads) = (&totals.transfers, &totals.downloads);
    let mut text = Text::default();
    text.family("ropewalk_build_info", "gauge", "The version, as a label.");
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.sample("ropewalk_build_info", &version, 1);
    text.single(
        "ropewalk_start_time_seconds",
        "gauge",
        "When the server was started, in seconds since 1970.",
        format_args!("{:.3}", counters.started),
    );

    text.outcomes("ropewalk_transfers_total", "Transfers that have ended.", transfers);
    text.single("ropewalk_transfers_active", "gauge", "Transfers under way.", transfers.active);
    text.single(
        "ropewalk_transfer_bytes_total",
        "counter",
        "Bytes of files that transfers have sent.",
        transfers.bytes,
    );
    text.single(
        "ropewalk_transfer_seconds_total",
        "counter",
        "Total duration of the transfers that have ended.",
        seconds(transfers),
    );
    text.single(
        "ropewalk_streams_active",
        "gauge",
        "Streams of transfers that are open.",
        transfers.streams,
    );
    text.single(
        "ropewalk_streams_total",
        "counter",
        "Streams of the transfers that have ended: the most open at once in each.",
        transfers.streams_ended,
    );

    text.outcomes("ropewalk_downloads_total", "GETs that have ended and had a body.", downloads);
    text.single("ropewalk_downloads_active", "gauge", "GETs under way.", downloads.active);
    text.single(
        "ropewalk_download_bytes_total",
        "counter",
        "Bytes that GETs have received.",
        downloads.bytes,
    );
    text.single(
        "ropewalk_download_seconds_total",
        "counter",
        "Total duration of the GETs that have ended.",
        seconds(downloads),
    );

    text.family("ropewalk_errors_total", "counter", "Error responses, by status.");
    for (status, count) in &totals.errors {
        text.sample("ropewalk_errors_total", &format!("status=\"{status}\""), count);
    }
    text.0
}

fn seconds(numbers: &Numbers) -> String {
    format!("{}.{:06}", numbers.time.as_secs(), numbers.time.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::super::counters::Kind;
    use super::*;
    use ropewalk::codec::http::Status;

    #[test]
    fn every_number_has_its_line() {
        let counters = Counters::new();
        let mut transfer = counters.begin(Kind::Transfer);
        transfer.reached(u64::MAX, 3);
        counters.begin(Kind::Download).end(Outcome::Changed);
        counters.answered(Status::NOT_FOUND);
        let text = format(&counters);
        for line in [
            "# TYPE ropewalk_transfers_total counter",
            "ropewalk_transfers_total{outcome=\"complete\"} 0",
            "ropewalk_transfers_active 1",
            "ropewalk_transfer_bytes_total 18446744073709551615",
            "ropewalk_streams_active 3",
            "ropewalk_downloads_total{outcome=\"changed\"} 1",
            "ropewalk_errors_total{status=\"404\"} 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is missing:\n{text}");
        }
        assert!(text.ends_with('\n'));
        transfer.end(Outcome::Complete);
        let text = format(&counters);
        for line in ["ropewalk_streams_active 0", "ropewalk_streams_total 3"] {
            assert!(text.lines().any(|own| own == line), "{line} is missing:\n{text}");
        }
    }
}
