//! The series of `/metrics` as messages of OTLP. The SDK of OpenTelemetry reads no other registry, so the page is parsed.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// The families of a page of OpenMetrics that this gateway wrote, with their times in Unix nanoseconds.
pub(super) fn of_page(page: &str, start: u64, time: u64) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    let mut help = "";
    for line in page.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            metrics.push(Metric {
                name: name.to_owned(),
                description: help.to_owned(),
                data: Some(empty(kind)),
                ..Metric::default()
            });
        } else if let (Some(metric), Some(sample)) = (metrics.last_mut(), Sample::parse(line)) {
            sample.add_to(metric, start, time);
        }
    }
    metrics
}

pub(super) fn with_resource(
    metrics: Vec<Metric>,
    resource: &ResourceAttributesWithSchema,
) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(Resource {
            attributes: resource.attributes.0.clone(),
            ..Resource::default()
        }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: "guest-gateway".to_owned(),
                ..InstrumentationScope::default()
            }),
            metrics,
            ..ScopeMetrics::default()
        }],
        schema_url: resource.schema_url.clone().unwrap_or_default(),
    }
}

fn empty(kind: &str) -> Data {
    match kind {
        "counter" => Data::Sum(Sum {
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
            ..Sum::default()
        }),
        "histogram" => Data::Histogram(Histogram {
            aggregation_temporality: CUMULATIVE,
            ..Histogram::default()
        }),
        _ => Data::Gauge(Gauge::default()),
    }
}

/// One line of a page.
struct Sample<'p> {
    name: &'p str,
    labels: Vec<KeyValue>,
    /// The upper bound of a bucket.
    bound: Option<f64>,
    value: f64,
}

impl<'p> Sample<'p> {
    /// `None` for a comment.
    fn parse(line: &'p str) -> Option<Self> {
        let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
        let (mut labels, mut bound) = (Vec::new(), None);
        if rest.starts_with('{') {
            while !rest.starts_with('}') {
                let (key, quoted) = rest.get(1..)?.split_once("=\"")?;
                let (value, after) = unescape(quoted)?;
                match key {
                    "le" => bound = value.parse().ok(),
                    _ => labels.push(KeyValue {
                        key: key.to_owned(),
                        value: Some(AnyValue {
                            value: Some(any_value::Value::StringValue(value)),
                        }),
                        ..KeyValue::default()
                    }),
                }
                rest = after;
            }
            rest = &rest[1..];
        }
        let value = rest.trim().parse().ok()?;
        (name != "#").then_some(Self {
            name,
            labels,
            bound,
            value,
        })
    }

    fn add_to(self, metric: &mut Metric, start: u64, time: u64) {
        let point = |attributes| NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            value: Some(Value::AsDouble(self.value)),
            ..NumberDataPoint::default()
        };
        match &mut metric.data {
            Some(Data::Sum(sum)) => sum.data_points.push(point(self.labels)),
            Some(Data::Gauge(gauge)) => gauge.data_points.push(NumberDataPoint {
                start_time_unix_nano: 0,
                ..point(self.labels)
            }),
            Some(Data::Histogram(histogram)) => {
                let points = &mut histogram.data_points;
                if points.last().is_none_or(|last| last.attributes != self.labels) {
                    points.push(HistogramDataPoint {
                        attributes: self.labels,
                        start_time_unix_nano: start,
                        time_unix_nano: time,
                        ..HistogramDataPoint::default()
                    });
                }
                let point = points.last_mut().expect("one was pushed");
                match (self.name.rsplit('_').next(), self.bound) {
                    (Some("bucket"), Some(bound)) => {
                        // the counts of a page are cumulative
                        let below: u64 = point.bucket_counts.iter().sum();
                        point
                            .bucket_counts
                            .push((self.value as u64).saturating_sub(below));
                        point.explicit_bounds.extend(bound.is_finite().then_some(bound));
                    }
                    (Some("sum"), _) => point.sum = Some(self.value),
                    (Some("count"), _) => point.count = self.value as u64,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The value of a label up to its quote, and the rest of the line.
fn unescape(quoted: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::ConstGauge;
    use prometheus_client::metrics::histogram::Histogram as Recorded;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn page_becomes_messages() {
        let (mut registry, counters) = (
            Registry::default(),
            Family::<[(&str, String); 2], Counter>::default(),
        );
        let labels = [
            ("route", "a,\"b\"\\\n}=".to_owned()),
            ("method", "GET".to_owned()),
        ];
        counters.get_or_create(&labels).inc_by(3);
        registry.register("requests", "Help of it", counters);
        registry.register("level", "-", ConstGauge::new(0.5));
        let times = Recorded::new([0.1, 1.0]);
        [0.05, 0.5, 0.6, 9.0]
            .into_iter()
            .for_each(|time| times.observe(time));
        registry.register("times_seconds", "-", times);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();

        let metrics = of_page(&page, 1, 2);
        let names: Vec<_> = metrics.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names, ["requests", "level", "times_seconds"], "{page}");
        let Some(Data::Sum(sum)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        assert_eq!(metrics[0].description, "Help of it.");
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(Value::AsDouble(3.0)));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
        for (attribute, (key, value)) in point.attributes.iter().zip(&labels) {
            assert_eq!(&attribute.key, key);
            let expected = any_value::Value::StringValue(value.clone());
            assert_eq!(attribute.value.as_ref().unwrap().value, Some(expected));
        }
        let Some(Data::Gauge(gauge)) = &metrics[1].data else {
            panic!("{metrics:?}");
        };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(0.5)));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else {
            panic!("{metrics:?}");
        };
        let [point] = &*histogram.data_points else {
            panic!("{histogram:?}");
        };
        assert_eq!(
            (&*point.bucket_counts, &*point.explicit_bounds),
            (&[1, 2, 1][..], &[0.1, 1.0][..])
        );
        assert_eq!((point.count, point.sum), (4, Some(10.15)));
    }
}
