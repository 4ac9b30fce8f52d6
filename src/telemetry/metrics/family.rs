//! Metrics with a label from a closed set. All time series exist from the start: counting needs no lookup, and
//! a value that never occurred is 0 instead of absent.

use super::labels::Label;
use prometheus::core::{Collector, Desc};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use std::marker::PhantomData;
use std::time::Duration;

pub(super) const PREFIX: &str = "vtnr_gateway_";

/// Counters, one per label value.
pub(super) struct Counters<L>(Box<[IntCounter]>, PhantomData<L>);

impl<L: Label> Counters<L> {
    pub(super) fn count(&self, label: L) {
        if let Some(counter) = self.0.get(label.position()) {
            counter.inc();
        }
    }
}

/// Histograms of seconds, one per label value.
pub(super) struct Histograms<L>(Box<[Histogram]>, PhantomData<L>);

impl<L: Label> Histograms<L> {
    pub(super) fn took(&self, label: L, duration: Duration) {
        if let Some(histogram) = self.0.get(label.position()) {
            histogram.observe(duration.as_secs_f64());
        }
    }
}

/// Documents one metric; the handbook's table is generated from these.
#[derive(Clone, Debug)]
pub struct MetricDoc {
    /// Full name with prefix.
    pub name: String,
    pub labels: Vec<String>,
    pub help: String,
}

/// Creates and registers metrics, and collects their documentation.
pub(super) struct Maker<'a> {
    pub(super) registry: &'a Registry,
    pub(super) docs: Vec<MetricDoc>,
}

type Result<T> = std::result::Result<T, prometheus::Error>;

impl Maker<'_> {
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter> {
        let counter = IntCounter::with_opts(Opts::new(self.name(name), help))?;
        self.register(counter)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Result<IntGauge> {
        let gauge = IntGauge::with_opts(Opts::new(self.name(name), help))?;
        self.register(gauge)
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram> {
        let histogram = Histogram::with_opts(
            HistogramOpts::new(self.name(name), help).buckets(buckets.to_vec()),
        )?;
        self.register(histogram)
    }

    pub(super) fn counter_table(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(self.name(name), help), labels)?;
        self.register(counters)
    }

    pub(super) fn gauge_table(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec> {
        let gauges = IntGaugeVec::new(Opts::new(self.name(name), help), labels)?;
        self.register(gauges)
    }

    pub(super) fn counters<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<Counters<L>> {
        let table = self.counter_table(name, help, &[label])?;
        let each = L::ALL
            .iter()
            .map(|value| table.get_metric_with_label_values(&[value.as_str()]));
        Ok(Counters(each.collect::<Result<_>>()?, PhantomData))
    }

    pub(super) fn histograms<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> Result<Histograms<L>> {
        let table = HistogramVec::new(
            HistogramOpts::new(self.name(name), help).buckets(buckets.to_vec()),
            &[label],
        )?;
        let table = self.register(table)?;
        let each = L::ALL
            .iter()
            .map(|value| table.get_metric_with_label_values(&[value.as_str()]));
        Ok(Histograms(each.collect::<Result<_>>()?, PhantomData))
    }

    fn name(&self, name: &str) -> String {
        format!("{PREFIX}{name}")
    }

    fn register<C: Collector + Clone + 'static>(&mut self, collector: C) -> Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        let doc = |desc: &Desc| MetricDoc {
            name: desc.fq_name.clone(),
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        };
        self.docs.extend(collector.desc().into_iter().map(doc));
        Ok(collector)
    }
}
