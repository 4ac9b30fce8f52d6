//! The steps of a forwarded request's way through the gateway, and what each may allocate.

use crate::arrived::{ANSWER, Arrived};
use domain::ids::SessionToken;
use domain::policy::Permit;
use domain::session::{Level, Session};
use domain::time::Timestamp;
use futures_util::FutureExt as _;
use pingora::http::{RequestHeader, ResponseHeader};
use std::hint::black_box;
use vtnr_gateway::gateway::hot_path::HotPath;

/// A request that has arrived, and what the earlier steps find for the later ones.
pub(crate) struct Stage {
    arrived: Arrived,
    pub(crate) session: Session,
    permit: Permit,
    now: Timestamp,
}

/// What a request brings for the steps to change: its header as it goes up, and the header of the answer.
pub(crate) struct Headers {
    up: RequestHeader,
    answer: ResponseHeader,
}

/// One step.
pub(crate) struct Step {
    pub(crate) what: &'static str,
    /// The most that it may allocate: how often, and bytes in all.
    pub(crate) most: (u64, u64),
    pub(crate) run: fn(&mut Stage, &mut Headers),
}

/// In their order; the last is all that Pingora asks of the gateway for one request, the steps before it included.
pub(crate) const STEPS: [Step; 9] = [
    Step {
        what: "strict",
        most: (0, 0),
        run: |stage, _| assert!(stage.hot().check()),
    },
    Step {
        what: "route",
        most: (0, 0),
        run: |stage, _| assert!(stage.hot().route()),
    },
    Step {
        what: "cookies",
        most: (0, 0),
        run: |stage, _| assert!(stage.hot().cookies().is_some()),
    },
    Step {
        what: "session",
        most: (0, 0),
        run: |stage, _| assert!(stage.find().is_some()),
    },
    Step {
        what: "decide",
        most: (0, 0),
        run: |stage, _| assert!(stage.decide().is_some()),
    },
    Step {
        what: "strip",
        most: (2, 512),
        run: |stage, headers| stage.hot().strip(&mut headers.up).expect("strips"),
    },
    Step {
        what: "inject",
        most: (13, 7_168),
        run: |stage, headers| stage.inject(headers),
    },
    Step {
        what: "clean",
        most: (0, 0),
        run: |stage, headers| stage.hot().clean(&mut headers.answer).expect("cleans"),
    },
    Step {
        what: "all hooks",
        most: (24, 9_500),
        run: |stage, headers| stage.pass(headers),
    },
];

impl Stage {
    /// A request of a session of this level, for a calculator with these keys in `[upstream]`.
    pub(crate) async fn new(level: Level, calculator: &str) -> Self {
        let arrived = Arrived::new(level, calculator).await;
        let now = arrived.hot.now();
        let session = arrived
            .hot
            .session(&arrived.token, now)
            .await
            .expect("it is signed in");
        let permit = arrived
            .hot
            .decide(Some(&session), now)
            .expect("it is allowed");
        Self {
            arrived,
            session,
            permit,
            now,
        }
    }

    /// The headers of one request more.
    pub(crate) fn headers(&mut self) -> Headers {
        let mut answer = ResponseHeader::build(200, Some(ANSWER.len())).expect("a status");
        for (name, value) in ANSWER {
            answer.append_header(name, value).expect("a field");
        }
        Headers {
            up: self.hot().copied(),
            answer,
        }
    }

    /// What a step allocates: how often, and bytes in all.
    pub(crate) fn cost(&mut self, step: &Step) -> (u64, u64) {
        let mut headers = self.headers();
        let counted = allocation_counter::measure(|| (step.run)(self, &mut headers));
        (counted.count_total, counted.bytes_total)
    }

    pub(crate) fn hot(&mut self) -> &mut HotPath {
        &mut self.arrived.hot
    }

    fn find(&self) -> Option<Session> {
        let token: &SessionToken = black_box(&self.arrived.token);
        self.arrived
            .hot
            .session(token, self.now)
            .now_or_never()
            .expect("what is in memory is not waited for")
    }

    fn decide(&mut self) -> Option<Permit> {
        self.arrived
            .hot
            .decide(black_box(Some(&self.session)), self.now)
    }

    fn inject(&self, headers: &mut Headers) {
        self.arrived
            .hot
            .inject(&mut headers.up, black_box(&self.permit))
            .expect("injects");
    }

    fn pass(&mut self, headers: &mut Headers) {
        let passed = self
            .arrived
            .hot
            .pass(&mut headers.up, &mut headers.answer)
            .now_or_never();
        passed
            .expect("nothing is waited for")
            .expect("it is forwarded");
    }
}
