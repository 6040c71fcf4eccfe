//! Another control side for a process whose own has ended: an upgrade failed after the store was
//! given away, or the writer panicked. The proxy serves its last table meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::core::model::Span;

use super::App;
use super::control::{Claim, ControlPart};

impl App {
    /// Whether nothing of it is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.control.as_ref().is_some_and(ControlPart::runs)
    }

    /// Begins another control side if none runs, unless one began only just now: what has ended it
    /// may end the next one, too. Blocks, not inside of a tokio runtime.
    pub(super) fn revive(&mut self) {
        let control = self.control.as_ref();
        let is_young = control.is_some_and(|control| control.age(&self.lasting) < YOUNG);
        if !self.is_whole() && !is_young {
            self.begin_anew();
        }
    }

    /// Begins another control side, with the configuration, the targets and the links that the one
    /// before had.
    fn begin_anew(&mut self) {
        if let Some(ended) = self.control.take() {
            tracing::error!("the control side has ended by itself: another one begins");
            ended.stop(&self.lasting);
        }
        if let Ok(kept) = self.lasting.kept.try_lock()
            && let Some(config) = kept.config()
        {
            self.config = config;
        }
        // What has ended the one before must not end the process.
        let begin = || ControlPart::start(&self.lasting, &self.config, Claim::Inherited);
        match catch_unwind(AssertUnwindSafe(begin)) {
            Ok(Ok(control)) => {
                self.control = Some(control);
                tracing::info!("the control side runs again");
            }
            Ok(Err(error)) => tracing::error!(
                %error,
                "the control side stands still: traffic flows as before, nothing is decided; it \
                 is tried again"
            ),
            Err(_) => tracing::error!(
                "the control side panicked as it began, and stands still: traffic flows as before, \
                 nothing is decided; it is tried again"
            ),
        }
    }
}

/// How old a control side has to be to be replaced when its writer is gone.
const YOUNG: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::*;
    use crate::config::Config;
    use crate::core::model::ServiceName;
    use crate::core::rollout::Actor;

    fn config(tells_side: bool) -> String {
        format!(
            "listeners:\n\
             - {{ name: public, address: '127.0.0.1:0', rules: [{{ service: shop }}] }}\n\
             target_groups: {{ a: {{ targets: ['127.0.0.1:9'] }}, b: {{}} }}\n\
             services: {{ shop: {{ target_groups: [a, b], tell_side: {tells_side} }} }}\n\
             admin: {{ address: '127.0.0.1:0' }}\n\
             store: {{ path: tidegate.db }}\n"
        )
    }

    fn reload(app: &App) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let actor = Actor { name: "ann".to_owned(), origin: "test".to_owned() };
        let handle = app.handle().expect("the control side is there");
        runtime.block_on(handle.reload(actor, None)).expect("reloaded");
    }

    #[test]
    fn a_control_side_whose_writer_is_gone_is_followed_by_one_with_the_same_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config(false)).expect("written");
        let first = Config::load(&file).expect("no mistake in the file");
        let mut app = App::start(first, Some(file.clone())).expect("it starts");
        std::fs::write(&file, config(true)).expect("written");
        reload(&app);

        app.control.as_ref().expect("it runs").kill_writer();
        for _ in 0..1_000 {
            if !app.is_whole() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!app.is_whole());
        app.revive();
        assert!(!app.is_whole(), "it began only just now");
        app.begin_anew();
        assert!(app.is_whole());
        let shop: ServiceName = "shop".parse().expect("valid");
        assert!(app.lasting.table.load().services[&shop].tell_side, "it was reloaded");
        reload(&app);
        app.shutdown();
    }
}
