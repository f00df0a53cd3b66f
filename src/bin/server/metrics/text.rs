//! The numbers as Prometheus reads them (its text format, version 0.0.4): ropewalk-server(1),
//! METRICS, has the same names.

#![forbid(unsafe_code)]

use super::counters::Counters;
use crate::transfers::totals::{Numbers, Outcome, Totals};
use std::fmt::Display;

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The text that is put together.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a family. `help` says what its samples count, without line ends or backslashes.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample. `labels` has all labels, without braces. No value in it has a quote, a
    /// backslash or a line end.
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
pub(super) fn format(counters: &Counters, totals: &Totals) -> String {
    let transfers = &totals.transfers;
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
        "ropewalk_files_total",
        "counter",
        "Files of folders that transfers have sent.",
        transfers.files,
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
        "ropewalk_stream_peak_total",
        "counter",
        "Sum, over ended transfers, of the most streams that each had open at once.",
        transfers.stream_peaks,
    );

    downloads_and_uploads(&mut text, totals);
    pushes(&mut text, &totals.pushes);

    text.family("ropewalk_errors_total", "counter", "Error responses, by status.");
    for (status, count) in counters.errors() {
        text.sample("ropewalk_errors_total", &format!("status=\"{status}\""), count);
    }
    text.0
}

fn pushes(text: &mut Text, pushes: &Numbers) {
    text.outcomes("ropewalk_pushes_total", "Pushes that have ended.", pushes);
    text.single("ropewalk_pushes_active", "gauge", "Pushes under way.", pushes.active);
    text.single(
        "ropewalk_push_bytes_total",
        "counter",
        "Bytes of files that pushes have brought.",
        pushes.bytes,
    );
    text.single(
        "ropewalk_push_files_total",
        "counter",
        "Files of folders that pushes have brought.",
        pushes.files,
    );
    text.single(
        "ropewalk_push_seconds_total",
        "counter",
        "Total duration of the pushes that have ended.",
        seconds(pushes),
    );
}

fn downloads_and_uploads(text: &mut Text, totals: &Totals) {
    let (downloads, uploads) = (&totals.downloads, &totals.uploads);
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

    text.outcomes("ropewalk_uploads_total", "PUTs that have ended after their head.", uploads);
    text.single("ropewalk_uploads_active", "gauge", "PUTs under way.", uploads.active);
    text.single(
        "ropewalk_upload_bytes_total",
        "counter",
        "Bytes that PUTs have brought.",
        uploads.bytes,
    );
    text.single(
        "ropewalk_upload_seconds_total",
        "counter",
        "Total duration of the PUTs that have ended.",
        seconds(uploads),
    );
}

fn seconds(numbers: &Numbers) -> String {
    format!("{}.{:06}", numbers.time.as_secs(), numbers.time.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::codec::http::Status;

    #[test]
    fn every_number_has_its_line() {
        let counters = Counters::new();
        counters.answered(Status::NOT_FOUND);
        let time = std::time::Duration::from_millis(1500);
        let transfers = Numbers {
            active: 1,
            ended: [5, 6, 7],
            bytes: u64::MAX,
            files: 9,
            streams: 3,
            stream_peaks: 4,
            time,
        };
        let downloads = Numbers { ended: [0, 1, 0], ..Numbers::default() };
        let uploads = Numbers { ended: [8, 0, 9], bytes: 10, ..Numbers::default() };
        let pushes = Numbers { ended: [3, 0, 2], bytes: 11, files: 12, ..Numbers::default() };
        let text = format(&counters, &Totals { transfers, downloads, uploads, pushes });
        for line in [
            "# TYPE ropewalk_transfers_total counter",
            "ropewalk_transfers_total{outcome=\"complete\"} 5",
            "ropewalk_transfers_total{outcome=\"failed\"} 7",
            "ropewalk_transfers_active 1",
            "ropewalk_transfer_bytes_total 18446744073709551615",
            "ropewalk_files_total 9",
            "ropewalk_transfer_seconds_total 1.500000",
            "ropewalk_streams_active 3",
            "ropewalk_stream_peak_total 4",
            "ropewalk_downloads_total{outcome=\"changed\"} 1",
            "ropewalk_uploads_total{outcome=\"complete\"} 8",
            "ropewalk_uploads_total{outcome=\"failed\"} 9",
            "ropewalk_uploads_active 0",
            "ropewalk_upload_bytes_total 10",
            "ropewalk_upload_seconds_total 0.000000",
            "ropewalk_pushes_total{outcome=\"complete\"} 3",
            "ropewalk_pushes_total{outcome=\"failed\"} 2",
            "ropewalk_pushes_active 0",
            "ropewalk_push_bytes_total 11",
            "ropewalk_push_files_total 12",
            "ropewalk_push_seconds_total 0.000000",
            "ropewalk_errors_total{status=\"404\"} 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is missing:\n{text}");
        }
        assert!(text.ends_with('\n'));
    }
}
