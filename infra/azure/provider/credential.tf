# How the two applications prove who they are, and whether they may renew that themselves.

locals {
  applications = {
    app     = azuread_application_registration.app
    console = azuread_application_registration.console
  }
  service_principals = {
    app     = azuread_service_principal.app
    console = azuread_service_principal.console
  }

  renewing = toset(var.renews_itself ? ["app", "console"] : [])

  federated = {
    for pair in setproduct(["app", "console"], var.credential == "federated" ? keys(var.identity_subjects) : []) :
    "${pair[0]}-${pair[1]}" => { application = pair[0], stage = pair[1] }
  }
}

# No secret at all: Entra trusts tokens that the platform issues to one role, which each stage has for this alone. Issuer and
# subject are compared letter by letter, case included.
resource "azuread_application_federated_identity_credential" "stage" {
  # checkov:skip=CKV_AZURE_249: It asks for the subjects of GitHub Actions, and these are the tokens of AWS or another platform.
  for_each       = local.federated
  application_id = local.applications[each.value.application].id
  display_name   = "muster-${each.value.stage}"
  description    = "Muster's stage ${each.value.stage}"
  audiences      = [local.clouds[var.cloud].audience]
  issuer         = var.identity_issuer
  subject        = var.identity_subjects[each.value.stage]
}

# The public half alone. The private key is made where it is used, and never comes here.
resource "azuread_application_certificate" "first" {
  for_each       = toset(var.credential == "certificate" ? ["app", "console"] : [])
  application_id = local.applications[each.key].id
  type           = "AsymmetricX509Cert"
  encoding       = "pem"
  value          = var.certificates[each.key]

  lifecycle {
    # Muster replaces it in time. That it is gone then is no reason to bring it back, nor may it be pulled from under Muster:
    # `terraform state rm` it and say credential = "kept" (see the README).
    prevent_destroy = true
  }
}

resource "azuread_application_password" "first" {
  for_each       = toset(var.credential == "client_secret" ? ["app", "console"] : [])
  application_id = local.applications[each.key].id
  display_name   = "muster first secret"
  end_date       = timeadd(plantimestamp(), "${var.secret_valid_days * 24}h")

  lifecycle {
    ignore_changes = [end_date]
    # As above. The state holds this secret, so it is to be short-lived there: Muster's next ones never come here.
    prevent_destroy = true
  }
}

# The right to change its own credentials: the role covers all of what an application owns, and it owns itself alone (and what
# it registers, which Muster never does). Assigned here, in the home tenant, and listed nowhere: among the permissions of application.tf every customer would be asked for it.
resource "azuread_app_role_assignment" "own_credentials" {
  for_each            = local.renewing
  app_role_id         = data.azuread_service_principal.graph.app_role_ids["Application.ReadWrite.OwnedBy"]
  principal_object_id = local.service_principals[each.key].object_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}

resource "azuread_application_owner" "itself" {
  for_each        = local.renewing
  application_id  = local.applications[each.key].id
  owner_object_id = local.service_principals[each.key].object_id
}
