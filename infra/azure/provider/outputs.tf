output "home_tenant_id" {
  description = "Your own tenant, as the vault's entries name it."
  value       = var.home_tenant_id
}

output "client_id" {
  description = "The application that customers approve."
  value       = azuread_application_registration.app.client_id
}

output "console_client_id" {
  description = "The console's application. Scripts ask for the scope api://CLIENT_ID/.default of it."
  value       = azuread_application_registration.console.client_id
}

locals {
  credentials = {
    for name in ["app", "console"] : name => one(concat(
      [for kind in [var.credential] : { kind = kind, audience = local.clouds[var.cloud].audience } if kind == "federated"],
      [for first in try([azuread_application_certificate.first[name]], []) : {
        kind            = "certificate"
        certificate_pem = var.certificates[name]
        key_id          = first.key_id
        expires_at      = first.end_date
      }],
      [for first in try([azuread_application_password.first[name]], []) : {
        kind       = "client_secret"
        value      = first.value
        key_id     = first.key_id
        expires_at = first.end_date
      }],
    ))
  }
  entries = {
    for name, credential in local.credentials : name => credential == null ? null : jsonencode({
      client_id      = local.applications[name].client_id
      home_tenant_id = var.home_tenant_id
      credential     = credential
    })
  }
}

# Sensitive, whatever is in them, so that neither a plan nor a log shows a secret.
output "app_entry" {
  description = "For `muster vault put app`. A certificate's lacks private_key_pem, which Terraform never sees. None when the credential is kept."
  value       = local.entries["app"]
  sensitive   = true
}

output "console_entry" {
  description = "For `muster vault put console`, as app_entry."
  value       = local.entries["console"]
  sensitive   = true
}
