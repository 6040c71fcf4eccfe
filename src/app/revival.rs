//! Another control side for a process whose own has ended: an upgrade failed after the store was
//! given away, or the writer panicked. The proxy serves its last table meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::StoreSpec;
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
    /// before had; none where that has taken its store with it, and with the store who is blue.
    fn begin_anew(&mut self) {
        match &self.config.store {
            StoreSpec::Path(_) => {}
            StoreSpec::Memory => return,
        }
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
    use std::path::Path;
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::*;
    use crate::config::Config;
    use crate::core::model::ServiceName;
    use crate::core::rollout::Actor;

    fn config(tells_side: bool, store: &str) -> String {
        format!(
            "listeners:\n\
             - {{ name: public, address: '127.0.0.1:0', rules: [{{ service: shop }}] }}\n\
             target_groups: {{ a: {{ targets: ['127.0.0.1:9'] }}, b: {{}} }}\n\
             services: {{ shop: {{ target_groups: [a, b], tell_side: {tells_side} }} }}\n\
             admin: {{ address: '127.0.0.1:0' }}\n\
             store: {{ {store} }}\n"
        )
    }

    fn reload(app: &App) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let actor = Actor { name: "ann".to_owned(), origin: "test".to_owned() };
        let handle = app.handle().expect("the control side is there");
        runtime.block_on(handle.reload(actor, None)).expect("reloaded");
    }

    fn start(file: &Path, text: &str) -> App {
        std::fs::write(file, text).expect("written");
        let config = Config::load(file).expect("no mistake in the file");
        App::start(config, Some(file.to_owned())).expect("it starts")
    }

    fn kill_writer(app: &App) {
        app.control.as_ref().expect("it runs").kill_writer();
        for _ in 0..1_000 {
            if !app.is_whole() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the writer does not end");
    }

    #[test]
    fn a_control_side_whose_writer_is_gone_is_followed_by_one_with_the_same_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, store) = (folder.path().join("tidegate.yaml"), "path: tidegate.db");
        let mut app = start(&file, &config(false, store));
        std::fs::write(&file, config(true, store)).expect("written");
        reload(&app);
        kill_writer(&app);
        app.revive();
        assert!(!app.is_whole(), "it began only just now");
        app.begin_anew();
        assert!(app.is_whole());
        let shop: ServiceName = "shop".parse().expect("valid");
        assert!(app.lasting.table.load().services[&shop].tell_side, "it was reloaded");
        reload(&app);
        app.shutdown();
    }

    #[test]
    fn a_store_in_memory_is_not_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.yaml");
        let mut app = start(&file, &config(false, "memory: true"));
        kill_writer(&app);
        let before = app.lasting.table.load_full();
        app.begin_anew();
        assert!(!app.is_whole());
        assert_eq!(app.lasting.table.load().generation, before.generation, "what served serves");
        app.shutdown();
    }
}
