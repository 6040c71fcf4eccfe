//! The burn rates of a rollout's two sides, as far as they hold its weight.
//!
//! A page is as good as an alarm of the absolute process, but for its end: it is over when the
//! windows say so, and what a person took upon themselves is overlooked until then.

use crate::core::analysis::{Burn, Burning};
use crate::core::model::Side;

use super::super::BurnView;

/// What was seen of both sides; green's first.
#[derive(Debug, Default)]
pub(super) struct BurnSides {
    seen: [Burning; 2],
    is_overlooked: [bool; 2],
}

impl BurnSides {
    /// Takes what was seen, green's first.
    pub(super) fn look(&mut self, seen: [Burning; 2]) {
        self.seen = seen;
        for (overlooked, seen) in self.is_overlooked.iter_mut().zip(seen) {
            *overlooked &= seen.pages();
        }
    }

    /// Whether a side breaks the objective by its burn rate, and nobody overlooks it.
    pub(super) fn pages(&self, side: Side) -> bool {
        let place = place(side);
        self.seen[place].pages() && !self.is_overlooked[place]
    }

    /// A person took upon themselves what lasts now.
    pub(super) fn overlook(&mut self) {
        self.is_overlooked = self.seen.map(|seen| seen.pages());
    }

    /// As others see it.
    pub(super) fn view(&self) -> Vec<BurnView> {
        let view = |side: Side| {
            let Burning { says, over: [over_5m, over_30m, over_1h, over_6h, over_3d] } =
                self.seen[place(side)];
            let says = match says {
                Burn::Within => "within",
                Burn::Insufficient => "insufficient",
                Burn::Above(urgency) => urgency.as_str(),
            };
            let says = says.to_owned();
            BurnView { side, says, over_5m, over_30m, over_1h, over_6h, over_3d }
        };
        [Side::Green, Side::Blue].map(view).into()
    }
}

fn place(side: Side) -> usize {
    match side {
        Side::Green => 0,
        Side::Blue => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::Urgency;

    fn says(says: Burn) -> Burning {
        Burning { says, ..Burning::default() }
    }

    #[test]
    fn what_is_overlooked_counts_again_once_it_was_over() {
        let (page, within) = (says(Burn::Above(Urgency::Page)), says(Burn::Within));
        let mut sides = BurnSides::default();
        sides.look([page, within]);
        assert!(sides.pages(Side::Green) && !sides.pages(Side::Blue));
        sides.overlook();
        sides.look([page, page]);
        assert!(!sides.pages(Side::Green), "that is known");
        assert!(sides.pages(Side::Blue), "this is new");
        sides.look([within, page]);
        sides.look([page, page]);
        assert!(sides.pages(Side::Green), "it is new again");
    }

    #[test]
    fn a_ticket_and_too_few_failures_hold_nothing_and_are_shown() {
        let mut sides = BurnSides::default();
        sides.look([says(Burn::Above(Urgency::Ticket)), says(Burn::Insufficient)]);
        assert!(!sides.pages(Side::Green) && !sides.pages(Side::Blue));
        let words: Vec<String> = sides.view().into_iter().map(|view| view.says).collect();
        assert_eq!(words, ["ticket", "insufficient"]);
    }
}
