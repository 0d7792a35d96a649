//! Where the stack is that sells.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use devstack::keys::shown;
use devstack::load::Stores;
use devstack::stack_file;

use super::args::FlashSaleArgs;
use crate::project::Project;

/// Flags before `.dev/env` before the environment.
pub(super) struct Target {
    pub(super) stack_file: PathBuf,
    pub(super) product_urls: Vec<String>,
    /// Where products are made.
    pub(super) catalogue_url: String,
    pub(super) product_admin_urls: Vec<String>,
    pub(super) order_urls: Vec<String>,
    pub(super) stores: Stores,
}

impl Target {
    pub(super) fn find(args: &FlashSaleArgs) -> Result<Self> {
        let stack_file = Project::find()?.stack_file();
        let file = stack_file::read(&stack_file)?.unwrap_or_default();
        let urls_or_listed = |flag: &Vec<String>, key: &str| {
            if !flag.is_empty() {
                return flag.clone();
            }
            let listed = lookup(&file, &format!("{key}S")).or_else(|| lookup(&file, key));
            let urls = listed.iter().flat_map(|urls| urls.split(','));
            urls.map(str::to_owned).collect()
        };
        let product_urls = urls_or_listed(&args.product_url, "PRODUCT_URL");
        if product_urls.is_empty() {
            bail!("no stack is running here (cargo dev up), and no --product-url is given");
        }
        let order_urls = urls_or_listed(&args.order_url, "ORDER_URL");
        if args.via.is_by_order() && order_urls.is_empty() {
            bail!("nobody to place orders with: ORDER_URL or --order-url");
        }
        // Each kind of request shows the key of its role.
        let (admin, service) = (lookup(&file, "ADMIN_KEY"), lookup(&file, "SERVICE_KEY"));
        let keyed = |urls: Vec<String>, key: &Option<String>| {
            urls.iter()
                .map(|url| shown(url, key.as_deref()))
                .collect::<Vec<_>>()
        };
        let or_listed = |flag: &Option<String>, key| flag.clone().or_else(|| lookup(&file, key));
        Ok(Self {
            stack_file,
            catalogue_url: shown(&product_urls[0], admin.as_deref()),
            product_urls: keyed(product_urls, &service),
            product_admin_urls: keyed(
                urls_or_listed(&args.product_admin_url, "PRODUCT_ADMIN_URL"),
                &admin,
            ),
            order_urls: keyed(order_urls, &service),
            stores: Stores {
                database_url: or_listed(&args.database_url, "PRODUCT_DATABASE_URL")
                    .context("no database to audit: PRODUCT_DATABASE_URL or --database-url")?,
                redis_url: or_listed(&args.redis_url, "REDIS_URL"),
                orders_url: or_listed(&args.order_database_url, "ORDER_DATABASE_URL"),
            },
        })
    }
}

fn lookup(file: &BTreeMap<String, String>, key: &str) -> Option<String> {
    // A stack that runs without something says so by leaving the key out; then the environment is not asked either.
    if file.is_empty() {
        std::env::var(key).ok()
    } else {
        file.get(key).cloned()
    }
}
