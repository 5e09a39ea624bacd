//! What is counted of letters, for `/metrics`.

use super::Tried;
use crate::store::{Delivery, DeliveryState, Target};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Letter {
    /// `webhook`, `hook` or `email`.
    to: &'static str,
    /// `delivered`, `dead` (given up), or `pending`: the try failed and another one follows.
    state: &'static str,
}

pub struct LetterMeters {
    pub registry: Registry,
    tries: Family<Letter, Counter>,
}

impl Default for LetterMeters {
    fn default() -> Self {
        let (mut registry, tries) = (Registry::with_prefix("millrace"), Family::<Letter, Counter>::default());
        // There from the start: an alert on what was never counted would never come.
        for to in ["webhook", "hook", "email"] {
            for state in DeliveryState::ALL {
                drop(tries.get_or_create(&Letter { to, state: state.as_str() }));
            }
        }
        registry.register("deliveries", "Tries to deliver letters from here, by kind and what they came to", tries.clone());
        LetterMeters { registry, tries }
    }
}

impl LetterMeters {
    /// A try has come to this; one that was put off is none.
    pub fn settled(&self, delivery: &Delivery, tried: &Tried) {
        if tried.is_put_off() {
            return;
        }
        let to = match &delivery.target {
            Target::Webhook { .. } => "webhook",
            Target::Hook { .. } => "hook",
            Target::Email { .. } => "email",
        };
        self.tries.get_or_create(&Letter { to, state: delivery.state.as_str() }).inc();
    }
}
