//! [`Events`]: all events of a stream.

use serde_json::Value;

use super::body::Body;
use super::{ProviderError, ResponseUsage, contradictory, missing};

/// Events of one stream at most.
const MAX_EVENTS: usize = 100_000;

/// The events of a stream, in order.
pub(super) struct Events<'a>(Vec<Body<'a>>);

impl<'a> Events<'a> {
    pub fn read(events: &'a [Value]) -> Result<Self, ProviderError> {
        if events.len() > MAX_EVENTS {
            return Err(missing(format!(
                "a stream has at most {MAX_EVENTS} events: give those that tell the usage"
            )));
        }
        let events = match events.split_last() {
            Some((last, others)) if last.as_str() == Some("[DONE]") => others,
            _ => events,
        };
        let event = |(index, event): (usize, &'a Value)| {
            let pointer = format!("/{index}");
            match event.as_object() {
                Some(fields) => Ok(Body::new(fields, pointer)),
                None => Err(contradictory(pointer, "an event of a stream is a JSON object")),
            }
        };
        Ok(Self(events.iter().enumerate().map(event).collect::<Result<_, _>>()?))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Body<'a>> {
        self.0.iter()
    }

    /// Reads the last event whose usage is at one of `paths`: of most providers it tells the whole
    /// of what was used up to there. What else it lacks, such as the model, the first event has.
    ///
    /// Usage of events with different `id`s is of different responses, of which one would be lost:
    /// it is refused.
    pub fn read_last(
        &self,
        paths: &[&[&str]],
        read: impl Fn(&Body<'_>) -> Result<ResponseUsage, ProviderError>,
    ) -> Result<ResponseUsage, ProviderError> {
        let mut last: Option<&Body<'a>> = None;
        for event in self.iter() {
            let mut told = false;
            for path in paths {
                told |= event.object_at(path)?.is_some();
            }
            if !told {
                continue;
            }
            if let (Some(id), Some(before)) = (event.text("id"), last.and_then(|b| b.text("id")))
                && id != before
            {
                return Err(contradictory(
                    event.at("id"),
                    "the events are of several responses: charge them one by one",
                ));
            }
            last = Some(event);
        }
        match (last, self.0.first()) {
            (Some(last), Some(first)) => read(&last.clone().over(first.clone())),
            _ => Err(self.no_usage()),
        }
    }

    /// Why a stream none of whose events tells the usage can't be charged.
    pub fn no_usage(&self) -> ProviderError {
        match self.0.as_slice() {
            [] => missing("the stream has no events, and so no usage"),
            // An error in the place of a stream.
            [only] if only.is_error() => only.no_usage(""),
            events if events.iter().any(Body::is_error) => missing(
                "the stream broke off with an error before it told its usage: charge what arrived \
                 as usage",
            ),
            _ => missing(
                "no event of the stream tells its usage: it broke off, or the usage was not asked \
                 for; charge what arrived as usage",
            ),
        }
    }
}
