//! The Lambda function `charge`.

use uc_http::Deployment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    uc_http::init_tracing();
    let deployment = Deployment::from_environment()?;
    uc_http::run(charge::router(&deployment)).await
}
